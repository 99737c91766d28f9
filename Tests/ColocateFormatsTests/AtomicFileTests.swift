import ColocateFormats
import Foundation
import Testing

@Suite struct AtomicFileTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  @Test func filesAppearWholeOrNotAtAll() throws {
    let path = scratch.file("out.txt")
    try AtomicFile.write("before", to: path)
    struct Failure: Error {}
    #expect(throws: Failure.self) {
      try AtomicFile.write(to: path) { file in
        try file.put(String(repeating: "x", count: 3 << 20))
        throw Failure()
      }
    }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "before")
    #expect(scratch.contents == ["out.txt"])
    // A link stays one, its target is replaced.
    let link = scratch.file("link")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
    try AtomicFile.write("after", to: link)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "after")
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == path)
    #expect(throws: FormatError.self) {
      try AtomicFile.write("x", to: scratch.file("absent/out.txt"))
    }
    #expect(throws: FormatError.self) { try AtomicFile.write("x", to: scratch.path) }
    try AtomicFile.write("x", to: "/dev/null")
    #expect(FileManager.default.fileExists(atPath: "/dev/null"))
  }

  /// Without a name until it is complete, where the file system can; with a hidden one elsewhere.
  @Test(arguments: [true, false])
  func filesAreReplacedInOneStep(unnamed: Bool) throws {
    struct Failure: Error {}
    let path = scratch.file("out.txt")
    for text in ["first", "second"] {
      try AtomicFile.write(to: path, unnamed: unnamed) { file in
        try file.put(text)
        // Whoever looks meanwhile sees what was there before.
        let isThere = scratch.contents.contains("out.txt")
        #expect(isThere == (text == "second"))
      }
      #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
      #expect(scratch.contents == ["out.txt"])
    }
    #expect(throws: Failure.self) {
      try AtomicFile.write(to: path, unnamed: unnamed) { _ in throw Failure() }
    }
    #expect(scratch.contents == ["out.txt"])
    // The permissions of what is replaced stay.
    #expect(chmod(path, 0o640) == 0)
    try AtomicFile.write(to: path, unnamed: unnamed) { file in try file.put("third") }
    var status = stat()
    #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o640)
  }

  @Test func hiddenNamesAreRemovedByWhoeverEndsTheProcess() throws {
    let path = scratch.file("out.txt")
    #expect(throws: FormatError.self) {
      try AtomicFile.write(to: path, unnamed: false) { file in
        #expect(scratch.contents.count == 1 && scratch.contents[0].hasPrefix(".out.txt."))
        AtomicFile.removeUnfinished()
        #expect(scratch.contents.isEmpty)
      }
    }
    #expect(scratch.contents.isEmpty)
  }

  @Test func outputsAreKnownUnderAllTheirNames() throws {
    let input = try scratch.write([1], "input")
    let link = scratch.file("link")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "input")
    try FileManager.default.linkItem(atPath: input, toPath: scratch.file("hard"))
    for name in ["input", "./input", "link", "hard"] {
      #expect(throws: FormatError.self) {
        try OutputPath.check([("--out", scratch.file(name))], inputs: [("the input", input)])
      }
    }
    let free = try OutputPath(scratch.file("free"))
    let dangling = scratch.file("dangling")
    try FileManager.default.createSymbolicLink(atPath: dangling, withDestinationPath: "free")
    #expect(try free.isSame(as: OutputPath(dangling)))
    #expect(try free.isSame(as: OutputPath(scratch.path + "/./free")))
    #expect(try !free.isSame(as: OutputPath(scratch.file("other"))))
    // A link stays one, whether or not its target exists.
    try AtomicFile.write("new", to: dangling)
    #expect(try String(contentsOfFile: scratch.file("free"), encoding: .utf8) == "new")
    for path in ["", scratch.path, scratch.path + "/", scratch.file("absent/x"), input + "/x"] {
      #expect(throws: FormatError.self) { try OutputPath(path) }
    }
    #expect(throws: FormatError.self) { try OutputPath(scratch.file("absent/")) }
  }
}
