import COpenBLAS
import Foundation
import Synchronization

/// Y = X · W by OpenBLAS, on one thread, for weights stored `[in, out]`.
///
/// With `[in, out]` the vectors that the kernels run along are contiguous in W, which is faster for
/// small batches than `[out, in]`. The products are cut as follows; the times behind the numbers
/// are in Benchmarks/engine/README.md.
///
/// * Up to 7 rows take a gemv each, because a gemm first packs all of W, whatever the number of
///   rows. W is cut into slabs of inputs that stay in cache while each row passes over them.
/// * From 8 rows on there is one gemm for every 256 outputs, so that the packed block of W stays in
///   cache.
enum MatrixProduct {
  /// Rows from which gemm is faster than a gemv each.
  private static let gemmRows = 8
  /// Outputs of one gemm.
  private static let gemmOutputs = 256
  /// Floats of W that each row of a few passes over before the next slab: 128 KiB.
  private static let slab = 1 << 15

  /// Bytes of the buffer that OpenBLAS maps at its first product.
  private static let bufferBytes = 128 << 20
  private static let hasBuffer = Atomic(false)

  /// Before the first product.
  ///
  /// OpenBLAS asks for its buffer again and again until it gets it, without a word. So whether
  /// there is room for it is tried first; and since its threads want buffers too and may take what
  /// was free a moment ago, the first product is watched: it takes milliseconds.
  /// - Throws: `EngineError` where there is no memory. A thread may go on asking for it then.
  static func prepare() throws(EngineError) {
    guard !hasBuffer.load(ordering: .acquiring) else { return }
    guard hasRoom(), let thread = startFirstProduct() else { throw noMemory }
    while !hasBuffer.load(ordering: .acquiring) {
      usleep(500)
      if processorSeconds(of: thread) > 2 { throw noMemory }
    }
    pthread_join(thread, nil)
  }

  private static var noMemory: EngineError {
    EngineError(
      "no memory for OpenBLAS: its buffer takes \(bufferBytes >> 20) MiB; expected a higher limit "
        + "(ulimit -v) or fewer processes")
  }

  /// Whether the buffer could be had now.
  private static func hasRoom() -> Bool {
    let size = bufferBytes + (1 << 20)
    let place = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let place, place != MAP_FAILED else { return false }
    munmap(place, size)
    return true
  }

  /// Computes the first product on a thread of its own.
  private static func startFirstProduct() -> pthread_t? {
    var thread = pthread_t()
    let failure = pthread_create(&thread, nil, firstProduct, nil)
    return failure == 0 ? thread : nil
  }

  private static let firstProduct:
    @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? =
      { _ in
        hasBuffer.store(isPrepared, ordering: .releasing)
        return nil
      }

  /// Time that a thread has spent computing; 0 where it has ended.
  private static func processorSeconds(of thread: pthread_t) -> Double {
    var clock = clockid_t()
    return pthread_getcpuclockid(thread, &clock) == 0 ? Timings.seconds(of: clock) : 0
  }

  /// The value means nothing; that it has been computed does.
  ///
  /// The kernels prefetch beyond the end of what is packed. In a buffer that has never been written
  /// to those pages do not exist yet, each prefetch walks the page table in vain, and products of
  /// 12 and more rows run at less than half their speed until some large product has touched the
  /// buffer: this one.
  private static let isPrepared: Bool = {
    openblas_set_num_threads(1)
    let (rows, inputs, outputs) = (64, 512, 2048)
    let x = [Float](repeating: 0, count: rows * inputs)
    let w = [Float](repeating: 0, count: inputs * outputs)
    var y = [Float](repeating: 0, count: rows * outputs)
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(rows), blasint(outputs), blasint(inputs),
      1, x, blasint(inputs), w, blasint(outputs), 0, &y, blasint(outputs))
    return true
  }()

  /// Y = X · W (+ Y if `adds`).
  /// - Parameters:
  ///   - x: `[rows, inputs]`, rows `xStride` apart.
  ///   - w: `[inputs, outputs]`.
  ///   - y: `[rows, outputs]`, rows `yStride` apart.
  @inline(__always)
  static func multiply(
    _ x: UnsafePointer<Float>, xStride: Int, rows: Int, _ w: UnsafePointer<Float>, inputs: Int,
    outputs: Int, into y: Floats, yStride: Int, adds: Bool = false
  ) {
    if rows < gemmRows {
      multiplyScattered(
        rows: rows, w, inputs: inputs, outputs: outputs, adds: adds,
        x: { x + $0 &* xStride }, y: { y + $0 &* yStride })
    } else {
      var output = 0
      while output < outputs {
        let count = min(gemmOutputs, outputs &- output)
        cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(rows), blasint(count),
          blasint(inputs), 1, x, blasint(xStride), w + output, blasint(outputs), adds ? 1 : 0,
          y + output, blasint(yStride))
        output &+= count
      }
    }
  }

  /// y = x · W + β y for one row.
  @inline(__always)
  private static func multiply(
    _ x: UnsafePointer<Float>, _ w: UnsafePointer<Float>, inputs: Int, outputs: Int, into y: Floats,
    beta: Float
  ) {
    cblas_sgemv(
      CblasRowMajor, CblasTrans, blasint(inputs), blasint(outputs), 1, w, blasint(outputs), x, 1,
      beta, y, 1)
  }

  /// The same for rows that lie anywhere: row i of X at `x(i)`, row i of Y at `y(i)`.
  @inline(__always)
  static func multiplyScattered(
    rows: Int, _ w: UnsafePointer<Float>, inputs: Int, outputs: Int, adds: Bool,
    x: (Int) -> UnsafePointer<Float>, y: (Int) -> Floats
  ) {
    let step = rows == 1 ? inputs : max(8, slab / outputs)
    var input = 0
    while input < inputs {
      let count = min(step, inputs &- input)
      for row in 0..<rows {
        multiply(
          x(row) + input, w + input &* outputs, inputs: count, outputs: outputs, into: y(row),
          beta: adds || input > 0 ? 1 : 0)
      }
      input &+= count
    }
  }

  /// Whether so few rows are better multiplied where they lie.
  @inline(__always)
  static func isFew(rows: Int) -> Bool { rows < gemmRows }

  /// The products of attention: scores S = Q · Kᵀ with `isTransposed`, mixed values O = P · V
  /// without; a gemv for one row, a gemm for more.
  /// - Parameters:
  ///   - x: rows `xStride` apart, of `width` values if transposed, of `positions` values if not.
  ///   - m: a head's keys or values, `[positions, width]`, contiguous.
  ///   - y: rows `yStride` apart, of `positions` values if transposed, of `width` values if not.
  @inline(__always)
  static func multiplyContext(
    _ x: UnsafePointer<Float>, xStride: Int, rows: Int, _ m: UnsafePointer<Float>, positions: Int,
    width: Int, isTransposed: Bool, into y: Floats, yStride: Int
  ) {
    // Of a row-major M, cblas_sgemv computes M · x, which is x · Mᵀ.
    if rows == 1 {
      cblas_sgemv(
        CblasRowMajor, isTransposed ? CblasNoTrans : CblasTrans, blasint(positions),
        blasint(width), 1, m, blasint(width), x, 1, 0, y, 1)
    } else {
      let (inputs, outputs) = isTransposed ? (width, positions) : (positions, width)
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, isTransposed ? CblasTrans : CblasNoTrans, blasint(rows),
        blasint(outputs), blasint(inputs), 1, x, blasint(xStride), m, blasint(width), 0, y,
        blasint(yStride))
    }
  }
}
