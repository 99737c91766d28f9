// swift-tools-version: 6.2
import PackageDescription

/// Speed and memory of the solver; a package of its own so that nobody who embeds Colocate builds a
/// benchmark tool.
///
///     swift package --package-path Benchmarks benchmark
let package = Package(
  name: "benchmarks",
  dependencies: [
    .package(name: "colocate", path: ".."),
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "SolverBenchmarks",
      dependencies: [
        .product(name: "Benchmark", package: "benchmark"),
        .product(name: "Colocate", package: "colocate"),
        .product(name: "ColocateFormats", package: "colocate"),
      ],
      path: "Benchmarks/SolverBenchmarks",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
  ],
  swiftLanguageModes: [.v6]
)
