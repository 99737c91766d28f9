/// A PyTorch file (`torch.save`): a zip archive with a pickle `NAME/data.pkl` and the numbers of
/// its tensors in `NAME/data/KEY`. Read without Python, and without running what is in it.
struct TorchFile {
  let path: String
  let pickle: PickleReader
  private let archive: ZipArchive
  private let folder: String

  /// Bytes of a pickle that no recording exceeds.
  private static let mostPickle = 1 << 30

  /// - Returns: nil where the archive has no pickle.
  init?(_ file: PositionedFile, _ archive: ZipArchive) throws(FormatError) {
    let pickles = archive.members.filter { $0.name.hasSuffix("/data.pkl") }
    guard let member = pickles.first else { return nil }
    guard pickles.count == 1, member.size <= Self.mostPickle else {
      throw FormatError(file.path, "\(pickles.count) pickles, expected one of at most 1 GiB")
    }
    path = file.path
    self.archive = archive
    folder = String(member.name.dropLast("data.pkl".count))
    if let order = archive.member(folder + "byteorder") {
      let text = String(decoding: try archive.bytes(of: order), as: UTF8.self)
      guard text == "little" else {
        throw FormatError(path, "byte order '\(text.prefix(20))', expected 'little'")
      }
    }
    let bytes = try archive.bytes(of: member)
    do throws(JSONProblem) {
      pickle = try PickleReader(bytes)
    } catch {
      throw FormatError(path, error.message)
    }
  }

  /// Refuses tensors that refer to the same numbers again and again: a small file could keep a
  /// reader busy for days.
  /// - Throws: `FormatError` where the tensors have more numbers together than their storages.
  func checkSharing(_ tensors: [PickleReader.Tensor]) throws(FormatError) {
    let storages = Dictionary(
      tensors.map { ($0.storage.key, $0.storage.count) }, uniquingKeysWith: max)
    let numbers = tensors.reduce(0) { $0 &+ $1.shape.reduce(1, &*) }
    let stored = storages.values.reduce(0, &+)
    guard numbers <= stored else {
      throw FormatError(
        path,
        "its tensors have \(numbers) numbers of \(stored) that are stored: one is there twice")
    }
  }

  /// A tensor's numbers, row-major.
  func integers(of tensor: PickleReader.Tensor) throws(FormatError) -> [Int] {
    let storage = tensor.storage
    guard let member = archive.member(folder + "data/" + storage.key) else {
      throw FormatError(path, "no member 'data/\(storage.key)', which a tensor is in")
    }
    let (size, over) = storage.count.multipliedReportingOverflow(by: storage.size)
    guard !over, member.size == size else {
      throw FormatError(
        path,
        "member 'data/\(storage.key)' has \(member.size) bytes, expected "
          + "\(storage.count) × \(storage.size)")
    }
    let bytes = try archive.bytes(of: member)
    let count = tensor.shape.reduce(1, *)
    var numbers = [Int]()
    numbers.reserveCapacity(count)
    bytes.withUnsafeBytes { bytes in
      var index = [Int](repeating: 0, count: tensor.shape.count)
      var place = tensor.offset
      for _ in 0..<count {
        numbers.append(
          storage.size == 4
            ? Int(
              Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: place * 4, as: Int32.self)))
            : Int(
              Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: place * 8, as: Int64.self)))
        )
        // The next index in row-major order.
        var axis = tensor.shape.count - 1
        while axis >= 0 {
          index[axis] += 1
          place += tensor.strides[axis]
          if index[axis] < tensor.shape[axis] { break }
          place -= index[axis] * tensor.strides[axis]
          index[axis] = 0
          axis -= 1
        }
      }
    }
    return numbers
  }
}
