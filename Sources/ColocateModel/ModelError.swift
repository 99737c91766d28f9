/// Input that contradicts itself: sizes that do not fit, ids out of range, loads that cannot be
/// met.
///
/// The text is one line, names the position, what was found and what was expected; a caller that
/// knows the file puts its name in front.
public enum ModelError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Sizes that no placement can have: `E` not divisible by `P`, `P` not divisible by `N`, zero of
  /// anything.
  case sizes(String)
  /// Counts, loads or ids that no trace can have.
  case counts(String)
  /// A placement that is not one.
  case placement(String)
  /// A load cap that is none, or that no placement was found to meet.
  case cap(String)
  /// A load cap that no placement meets: proved.
  case infeasible(String)
  /// An option of the solver that is out of its range.
  case option(String)

  public var description: String {
    switch self {
    case .sizes(let text), .counts(let text), .placement(let text), .cap(let text),
      .infeasible(let text), .option(let text):
      return text
    }
  }
}
