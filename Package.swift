// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours is Swift 6 mode with warnings as errors.
let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]

let package = Package(
  name: "colocate",
  products: [
    // The solver as a library: standard library, Dispatch and Synchronization only.
    .library(name: "Colocate", targets: ["Colocate"]),
    // Readers and writers of traces, counts and plans.
    .library(name: "ColocateFormats", targets: ["ColocateFormats"]),
    // The command line. Builds without MPI and BLAS.
    .executable(name: "colocate", targets: ["ColocateCommand"]),
    // Runs a checkpoint over MPI ranks under a plan. Needs Open MPI and OpenBLAS; nothing above
    // does.
    .executable(name: "colocate-engine", targets: ["ColocateEngineCommand"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
  ],
  targets: [
    .target(name: "ColocateModel", swiftSettings: strict),
    // Sees the model and nothing else: that a check trusts no solver code is a fact of the
    // compiler.
    .target(name: "ColocateCertificate", dependencies: ["ColocateModel"], swiftSettings: strict),
    .target(
      name: "Colocate", dependencies: ["ColocateModel", "ColocateCertificate"],
      swiftSettings: strict),
    .target(
      name: "ColocateFormats", dependencies: ["Colocate", "ColocateCertificate"],
      swiftSettings: strict),
    // The product is called `colocate`; the module is not, because a module that differs from
    // `Colocate` only by case breaks on file systems that ignore case.
    .executableTarget(
      name: "ColocateCommand",
      dependencies: [
        "Colocate", "ColocateFormats",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    .systemLibrary(
      name: "CMPI", path: "Sources/CMPI", pkgConfig: "ompi-c",
      providers: [.apt(["libopenmpi-dev", "openmpi-bin"])]),
    .systemLibrary(
      name: "COpenBLAS", path: "Sources/COpenBLAS", pkgConfig: "openblas",
      providers: [.apt(["libopenblas-dev"])]),
    .target(
      name: "MoEEngine", dependencies: ["Colocate", "ColocateFormats", "CMPI", "COpenBLAS"],
      swiftSettings: strict),
    .executableTarget(
      name: "ColocateEngineCommand",
      dependencies: [
        "MoEEngine", "Colocate", "ColocateFormats",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    // Rates and speed-ups of what is not public: Benchmarks/ is a package of its own and cannot see
    // it.
    .executableTarget(
      name: "SearchRates", dependencies: ["Colocate"], path: "Benchmarks/SearchRates",
      swiftSettings: strict),
    // The whole solver on random cases against the true optimum, for as long as one likes.
    .executableTarget(
      name: "SolverFuzz", dependencies: ["Colocate", "TestSupport"], path: "Benchmarks/SolverFuzz",
      swiftSettings: strict),
    .target(
      name: "TestSupport", dependencies: ["Colocate"], path: "Tests/TestSupport",
      swiftSettings: strict),
    .testTarget(
      name: "ColocateTests", dependencies: ["Colocate", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "ColocateFormatsTests", dependencies: ["ColocateFormats", "Colocate", "TestSupport"],
      exclude: ["Stacks/Fixtures"], swiftSettings: strict),
    .testTarget(
      name: "ColocateCommandTests",
      // The program too: its tests run it.
      dependencies: ["ColocateCommand", "ColocateFormats", "Colocate"], swiftSettings: strict),
    .testTarget(
      name: "MoEEngineTests",
      // The program too: its tests start it under mpirun.
      dependencies: ["MoEEngine", "ColocateFormats", "Colocate", "ColocateEngineCommand"],
      exclude: ["Faults", "Fixtures", "reference"], swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)
