import Foundation

/// Writing to file descriptors, whatever they lead to, and the system's words for what failed.
package enum Descriptor {
  /// Writes all bytes. Nothing but `write` and `poll` is called, so that signal handlers may use
  /// it.
  /// - Returns: 0, or the error's number.
  package static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int32 {
    guard let start = bytes.baseAddress else { return 0 }
    var done = 0
    while done < bytes.count {
      let written = Foundation.write(descriptor, start + done, bytes.count - done)
      if written >= 0 {
        done += written
        continue
      }
      switch errno {
      case EINTR: continue
      case EAGAIN, EWOULDBLOCK:
        // Somebody made it non-blocking: wait until it takes more.
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = poll(&entry, 1, -1)
      case let failure: return failure
      }
    }
    return 0
  }

  /// Writes a text.
  /// - Returns: 0, or the error's number.
  package static func write(_ text: String, to descriptor: Int32) -> Int32 {
    var text = text
    return text.withUTF8 { write(UnsafeRawBufferPointer($0), to: descriptor) }
  }

  /// What an error's number means, in small letters.
  package static func reason(_ failure: Int32) -> String {
    failure == 0 ? "cannot be read" : String(cString: strerror(failure)).lowercased()
  }

  /// Opens what is closed of standard input, output and error, so that no file that is opened later
  /// takes its number and what is meant for people ends up in it. Writing to it fails, as it
  /// should.
  package static func reserveStandard() {
    for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) == -1 {
      _ = open("/dev/null", O_RDONLY)
    }
  }
}
