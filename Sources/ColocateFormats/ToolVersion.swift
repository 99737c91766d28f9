/// The version of both programs.
package enum ToolVersion {
  /// As `--version` prints it and plans record it.
  package static let current = "0.2.0"
}
