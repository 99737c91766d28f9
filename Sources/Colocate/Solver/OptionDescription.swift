import ColocateModel

/// One option of the solver: its name, its range, where it is kept, and what it means.
///
/// The table of all of them (`OptionDescription.table`) is what `SolverOptions.validate`, the
/// command's `--help` and the fuzzer work from. A default stands where the option is declared, and
/// the table reads it there.
public struct OptionDescription: Sendable {
  /// Where the value is kept, and what it may be. An optional value that is nil sets no limit.
  public enum Access: Sendable {
    case flag(WritableKeyPath<SolverOptions, Bool> & Sendable)
    case count(WritableKeyPath<SolverOptions, Int> & Sendable, ClosedRange<Int>)
    case limit(WritableKeyPath<SolverOptions, Int?> & Sendable, ClosedRange<Int>)
    case number(WritableKeyPath<SolverOptions, Double> & Sendable, ClosedRange<Double>)
    case seconds(WritableKeyPath<SolverOptions, Double?> & Sendable, ClosedRange<Double>)
    case seed(WritableKeyPath<SolverOptions, UInt64> & Sendable)
  }

  /// The name, words joined by hyphens: `time-limit`.
  public let name: String
  public let access: Access
  /// One sentence.
  public let meaning: String
  /// Whether it chooses among methods (`--set` on the command line) and not what a run may spend.
  public let isAdvanced: Bool

  init(_ name: String, _ access: Access, _ meaning: String, isAdvanced: Bool = true) {
    self.name = name
    self.access = access
    self.meaning = meaning
    self.isAdvanced = isAdvanced
  }

  /// The description of this name, or nil.
  public static func named(_ name: String) -> OptionDescription? {
    table.first { $0.name == name }
  }

  /// The value in `options`, as `set` reads it: "on", "off", a number, or "none".
  public func text(in options: SolverOptions) -> String {
    switch access {
    case .flag(let path): options[keyPath: path] ? "on" : "off"
    case .count(let path, _): "\(options[keyPath: path])"
    case .limit(let path, _): options[keyPath: path].map { "\($0)" } ?? "none"
    case .number(let path, _): Self.text(options[keyPath: path])
    case .seconds(let path, _): options[keyPath: path].map(Self.text) ?? "none"
    case .seed(let path): "\(options[keyPath: path])"
    }
  }

  /// The value that a run has where nobody sets it.
  public var defaultText: String { text(in: SolverOptions()) }

  /// What may be set: "on or off", "1 to 1024", "at least 1".
  public var rangeText: String {
    switch access {
    case .flag: "on or off"
    case .count(_, let range): Self.text(range)
    case .limit(_, let range): Self.text(range) + " or none"
    case .number(_, let range): "\(Self.text(range.lowerBound)) to \(Self.text(range.upperBound))"
    case .seconds(_, let range):
      "\(Self.text(range.lowerBound)) to \(Self.text(range.upperBound)) seconds or none"
    case .seed: "0 to \(UInt64.max)"
    }
  }

  /// Whether the value in `options` is inside the range.
  public func isInRange(_ options: SolverOptions) -> Bool {
    switch access {
    case .flag, .seed: true
    case .count(let path, let range): range.contains(options[keyPath: path])
    case .limit(let path, let range): options[keyPath: path].map(range.contains) ?? true
    case .number(let path, let range): range.contains(options[keyPath: path])
    case .seconds(let path, let range): options[keyPath: path].map(range.contains) ?? true
    }
  }

  /// Sets the value in `options`.
  /// - Throws: `ModelError.option` where the text is no value of this option.
  public func set(_ text: String, in options: inout SolverOptions) throws(ModelError) {
    var changed = options
    guard read(text, into: &changed), isInRange(changed) else {
      throw .option("\(name) \(text): expected \(rangeText)")
    }
    options = changed
  }

  /// Sets the default value in `options`.
  public func reset(_ options: inout SolverOptions) {
    _ = read(defaultText, into: &options)
  }

  private func read(_ text: String, into options: inout SolverOptions) -> Bool {
    switch access {
    case .flag(let path):
      guard text == "on" || text == "off" else { return false }
      options[keyPath: path] = text == "on"
    case .count(let path, _):
      guard let value = Int(text) else { return false }
      options[keyPath: path] = value
    case .limit(let path, _):
      guard let value = Int(text) ?? (text == "none" ? 0 : nil) else { return false }
      options[keyPath: path] = text == "none" ? nil : value
    case .number(let path, _):
      guard let value = Double(text) else { return false }
      options[keyPath: path] = value
    case .seconds(let path, _):
      guard let value = Double(text) ?? (text == "none" ? 0 : nil) else { return false }
      options[keyPath: path] = text == "none" ? nil : value
    case .seed(let path):
      guard let value = UInt64(text) else { return false }
      options[keyPath: path] = value
    }
    return true
  }

  private static func text(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
  }

  private static func text(_ range: ClosedRange<Int>) -> String {
    range.upperBound == .max
      ? "at least \(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
  }
}

extension SolverOptions {
  /// Checks every option of the table, and what must hold between some of them.
  /// - Throws: `ModelError.option` with the name, the value and the range of the first that is out
  ///   of range; `ModelError.sizes` where the joint weights are out of order.
  public func validate() throws(ModelError) {
    for option in OptionDescription.table where !option.isInRange(self) {
      throw .option("\(option.name) \(option.text(in: self)): expected \(option.rangeText)")
    }
    try jointWeights.check()
  }
}
