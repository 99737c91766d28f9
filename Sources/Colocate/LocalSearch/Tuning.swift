/// The temperatures of local search, in units of the mean entry of `W`, and how often labels move.
///
/// Chosen by trial on the bundled and on planted instances; nothing but speed depends on them.
enum Tuning {
  /// From a random start.
  static let hot = 20.0
  /// The last temperature of every annealing.
  static let cold = 0.3
  /// Reheats of the four streams.
  static let reheats = [8.0, 4.0, 2.0, 1.0]
  /// One exchange of labels per so many swaps.
  static let relabel = 64
  /// Rounds without progress after which an epoch ends.
  static let patience = 6
}
