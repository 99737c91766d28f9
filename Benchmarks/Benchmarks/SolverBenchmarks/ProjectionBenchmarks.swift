import Benchmark
import Colocate

/// The spectral step of one boundary on one thread: the target set, decomposed, the nearest matrix
/// written.
func projectionBenchmarks() {
  for experts in [32, 256] {
    Benchmark("projection of \(2 * experts) vertices onto 8 groups", configuration: timed()) {
      (_, target: ProjectionTarget) in
      target.project()
    } setup: {
      ProjectionTarget(experts: experts, groups: 8)
    }
  }
}

/// A target midway between a placement's matrix and random numbers from 0 to 1.
private final class ProjectionTarget {
  private let experts: Int
  private let projection: SpectralProjection
  /// The three blocks of the target, and of what is nearest, `[3, E, width]`.
  private let target: AlignedRows
  private let nearest: AlignedRows
  /// 0, `[E, width]`.
  private let dual: AlignedRows

  init(experts: Int, groups: Int) {
    let width = (experts + 3) & ~3
    self.experts = experts
    projection = SpectralProjection(
      experts: experts, groups: groups, width: width, control: SearchControl())
    target = AlignedRows(rows: 3 * experts, stride: width)
    nearest = AlignedRows(rows: 3 * experts, stride: width)
    dual = AlignedRows(rows: experts, stride: width)
    var random = SeededGenerator(seed: 1)
    for block in ColocationLayout.Block.allCases {
      let first = block.rawValue * experts
      for i in 0..<experts {
        for j in 0..<experts {
          let together = i % groups == j % groups ? 1.0 : 0
          let isMirrored = block != .between && j < i
          target[first + i, j] =
            isMirrored ? target[first + j, i] : (together + random.nextUnit()) / 2
        }
      }
    }
  }

  func project() {
    for block in ColocationLayout.Block.allCases {
      projection.setTarget(block, x: target.row(block.rawValue * experts), dual: dual.base)
    }
    guard projection.decompose() else { fatalError("stopped") }
    for block in ColocationLayout.Block.allCases {
      projection.write(block, to: nearest.row(block.rawValue * experts))
    }
    blackHole(nearest.base[0])
  }
}
