import Glibc
enum XP {
  static func d(_ name: String, _ value: Double) -> Double { getenv(name).flatMap { Double(String(cString: $0)) } ?? value }
  static let partition = d("XP_PART", 1) > 0
  static let company = d("XP_COMP", 1) > 0
  static let loadPair = d("XP_LP", 1) > 0
  static let cover = d("XP_COVER", 1) > 0
  static let hyper = d("XP_HYPER", 1) > 0
  static let hyperThreshold = d("XP_HT", 0.04)
  static let coverThreshold = d("XP_CT", 0.02)
  static let sparsePer = Int(d("XP_PER", 4))
  static let firstSparse = Int(d("XP_FIRST", 150))
  static let every = Int(d("XP_EVERY", 15))
  static let sparseViolation = d("XP_SV", 0.05)
}
