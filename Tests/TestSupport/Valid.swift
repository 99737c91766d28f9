/// What a test makes from values that cannot be refused; the error's text where one is all the
/// same.
package func valid<Value>(_ make: () throws -> Value) -> Value {
  do { return try make() } catch { fatalError("\(error)") }
}
