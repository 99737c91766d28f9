/// How far a search is; posted by whatever worker has news.
package struct TreeProgress: Sendable {
  package let bound: Int
  package let treeNodes: Int
  package let openTreeNodes: Int
}
