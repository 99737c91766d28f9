/// A table for people: columns as wide as their widest entry, numbers to the right. The last entry
/// of a row that has fewer than the header spans the columns that are left.
struct TextTable {
  private var rows: [[String]]

  init(_ header: [String]) { rows = [header] }

  mutating func add(_ row: [String]) { rows.append(row) }

  /// First column to the left, the others to the right, a rule under the header.
  var text: String {
    let columns = rows[0].count
    let widths = (0..<columns).map { column in
      // An entry that spans several columns does not widen the first of them.
      rows.filter { column < $0.count && (column < $0.count - 1 || $0.count == columns) }
        .map { $0[column].count }.max() ?? 0
    }
    var text = ""
    for (index, row) in rows.enumerated() {
      var line = ProgressLog.left(row[0], widths[0])
      for column in 1..<row.count {
        let isLast = column == row.count - 1
        let spanned = isLast ? Array(widths[column...]) : [widths[column]]
        let width = spanned.reduce(0, +) + 2 * (spanned.count - 1)
        line +=
          "  " + String(repeating: " ", count: max(0, width - row[column].count)) + row[column]
      }
      text += line + "\n"
      if index == 0 {
        text += String(repeating: "-", count: widths.reduce(0, +) + 2 * (columns - 1)) + "\n"
      }
    }
    return text
  }
}
