import Colocate
import ColocateFormats
import Foundation
import Testing

/// The recipes in the documentation say what the command says.
@Suite struct RecipeTests {
  private static let articles: [PlacementFormat: String] = [
    .sglang: "SGLang", .tensorRTLLM: "TensorRTLLM", .vllm: "VLLM", .vllmMap: "VLLM",
    .vllmAscend: "VLLMAscend", .lmdeploy: "LMDeploy",
  ]

  @Test(arguments: PlacementFormat.allCases)
  func articlesHaveTheFlagsOfTheCommand(format: PlacementFormat) throws {
    let placement = try PlacementFormatTests.small()
    guard let recipe = StackRecipe(for: format, placement, path: "FILE") else {
      #expect(format == .colocate || format == .exflow)
      return
    }
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let name = try #require(Self.articles[format])
    let folder = root.appendingPathComponent("Sources/ColocateFormats/Documentation.docc")
    let article = try String(
      contentsOf: folder.appendingPathComponent(name + ".md"), encoding: .utf8)
    #expect(article.contains("--to \(format.rawValue)"))
    // Flags, environment variables and keys, each as it is.
    let words = #/--[a-z][a-z_-]+|[A-Z]+_[A-Z_]+|[a-z]+_[a-z_]+(?=:|":)/#
    let found = recipe.start.matches(of: words).map { String($0.output) }
    #expect(found.count >= 2, "\(recipe.start)")
    for word in found + recipe.undo.matches(of: words).map({ String($0.output) }) {
      #expect(article.contains(word), "\(name).md without \(word)")
    }
    for heading in ["## The file", "## Start", "## See it", "## Mind", "## Undo"] {
      #expect(article.contains(heading), "\(name).md without \(heading)")
    }
  }
}
