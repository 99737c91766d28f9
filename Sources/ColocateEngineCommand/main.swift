import ArgumentParser
import Foundation
import MoEEngine

// One line from one rank: rank 0 prints what all ranks agree on.
let process = MPIProcess()
do {
  var command = try EngineCommand.parseAsRoot()
  try command.run()
  process.finish()
} catch {
  let code = EngineCommand.exitCode(for: error)
  if process.rank == 0 {
    let text = error is EngineError ? "Error: \(error)" : EngineCommand.fullMessage(for: error)
    FileHandle.standardError.write(Data((text + "\n").utf8))
  }
  process.finish()
  exit(code.rawValue)
}
