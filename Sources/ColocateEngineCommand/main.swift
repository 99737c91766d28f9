import ColocateFormats
import Foundation
import MoEEngine

Descriptor.reserveStandard()
Signals.prepare()
let process = MPIProcess()
let code = EngineCommand.runAndReport()
process.finish()
fflush(nil)
// Not `exit`: OpenBLAS's destructor waits for its threads, and one that did not get its memory
// never ends.
_exit(code)
