import ColocateModel

extension SearchControl {
  /// Whether time, work or patience is over.
  var isOver: Bool { shouldStop || isWorkOver }

  /// A control for one of several parts that run at once: it stops with this one, after `seconds`,
  /// or when it has spent `work` of its own. What it may do does not depend on the other parts, so
  /// results under a work limit do not depend on the number of threads. The caller spends what it
  /// has spent here, once it is done.
  func share(seconds: Double, work: Int?) -> SearchControl {
    SearchControl(
      timeLimit: seconds.isFinite ? seconds : nil, workLimit: work, threads: 1,
      cancelledWhen: { self.shouldStop })
  }
}
