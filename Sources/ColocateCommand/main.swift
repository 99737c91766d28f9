import Foundation

// Standard output may be a closed pipe (`colocate … | head`): let the write fail instead of killing the run.
signal(SIGPIPE, SIG_IGN)
exit(ColocateTool.runAndReport())
