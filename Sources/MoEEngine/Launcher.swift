import Foundation

/// What the program that started this process says about the number of processes.
///
/// A launcher of another MPI, or one that the MPI at hand cannot talk to, starts processes that
/// each take themselves for the only one: every one of them would do the whole job and write the
/// same file.
package enum Launcher {
  /// Where launchers say how many processes they have started, the more telling first.
  private static let counts = [
    "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "JSM_NAMESPACE_SIZE",
    "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS",
  ]

  /// What is wrong with a start under this environment; nil where MPI and the launcher agree.
  /// - Parameter size: ranks that MPI sees.
  package static func contradiction(
    size: Int, environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> EngineError? {
    for name in counts {
      guard let text = environment[name], let expected = Int(text) else { continue }
      // In a shell inside an allocation, the number of tasks is there, but nothing was started.
      if name.hasPrefix("SLURM"), environment["SLURM_PROCID"] == nil { continue }
      guard expected != size else { return nil }
      return EngineError(
        "the launcher started \(expected) processes (\(name)), but MPI sees \(size): it belongs to "
          + "another MPI; expected mpirun -n \(expected) of Open MPI, or srun --mpi=pmix",
        isShared: true)
    }
    return nil
  }
}
