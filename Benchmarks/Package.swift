// swift-tools-version: 6.2
import PackageDescription

/// Most of what is measured is no more than `package`, so the benchmarks say that they are of
/// Colocate's package, which SwiftPM names after its folder, made an identifier.
let folder = Context.packageDirectory.split(separator: "/").dropLast().last ?? "colocate"
let characters = folder.lowercased().map { $0.isLetter || $0.isNumber ? $0 : "_" }
let colocate = String(characters[0].isNumber ? ["_"] + characters.dropFirst() : characters)

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
      packageAccess: false,
      swiftSettings: [.unsafeFlags(["-package-name", colocate])],
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
  ],
  swiftLanguageModes: [.v6]
)
