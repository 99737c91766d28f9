import ColocateFormats

/// What a run ends with; thrown by a subcommand that has already said everything. `colocate --help`
/// and the README list the same codes.
struct ExitStatus: RawRepresentable, Error, Equatable {
  let rawValue: Int32

  /// Proved optimal, or the gap asked for is met, or all work is done.
  static let done = ExitStatus(rawValue: 0)
  static let internalError = ExitStatus(rawValue: 1)
  /// Bad input or usage, or an output that cannot be written.
  static let badInput = ExitStatus(rawValue: 2)
  /// No placement meets the load cap (proved).
  static let infeasible = ExitStatus(rawValue: 3)
  /// A limit was reached; the answer is written.
  static let limit = ExitStatus(rawValue: 4)
  /// A signal ended the run; the answer is written. 130 for Ctrl-C.
  static func signal(_ number: Int32) -> ExitStatus { ExitStatus(rawValue: 128 + number) }
}
