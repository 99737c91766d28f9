import Foundation
import MoEEngine

signal(SIGPIPE, SIG_IGN)
// The number of a standard stream that is closed must not become that of a file that is opened
// later. What is written to it still fails.
for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(stream, F_GETFD) < 0 {
  _ = open("/dev/null", O_RDONLY)
}
let process = MPIProcess()
let code = EngineCommand.runAndReport()
process.finish()
fflush(nil)
// Not `exit`: OpenBLAS's destructor waits for its threads, and one that did not get its memory
// never ends.
_exit(code)
