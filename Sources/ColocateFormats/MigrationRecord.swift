import ColocateModel

/// What a plan says of the way to it from the plan that is in use.
public struct MigrationRecord: Hashable, Sendable {
  /// The file of the plan in use.
  public var current: String
  public var migration: Migration
  /// The most copies that were allowed; nil without a limit.
  public var mostCopies: Int?
  /// Bytes to copy, and those of them that go between nodes; nil where the model is not known.
  public var bytes: Int?
  public var nodeBytes: Int?

  public init(current: String, migration: Migration) {
    self.current = current
    self.migration = migration
  }

  /// As a plan has it.
  public var json: JSONText {
    .object([
      ("current", .string(current)), ("copies", .integer(migration.copies)),
      ("copies_between_nodes", .integer(migration.nodeCopies)),
      ("copies_per_layer", JSONText(migration.copiesPerLayer)),
      ("most_copies", JSONText(mostCopies)), ("bytes", JSONText(bytes)),
      ("bytes_between_nodes", JSONText(nodeBytes)),
    ])
  }
}
