import Colocate
import ColocateFormats
import Foundation
import Testing

/// Files that are something else say what they are and what to do.
@Suite struct ContainerTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  private func message(_ bytes: [UInt8], _ name: String = "x.npy") throws -> String {
    let path = try scratch.write(bytes, name)
    do throws(FormatError) {
      _ = try TraceFile(path)
      return "read"
    } catch {
      return error.message
    }
  }

  /// A zip archive's first member.
  private func zip(_ member: String) -> [UInt8] {
    [0x50, 0x4B, 3, 4] + [UInt8](repeating: 0, count: 22) + [UInt8(member.utf8.count), 0, 0, 0]
      + Array(member.utf8) + [UInt8](repeating: 7, count: 40)
  }

  @Test func namesAndRemedies() throws {
    let tail = [UInt8](repeating: 0, count: 300)
    for (bytes, name, remedy) in [
      ([], "an empty file", "written to the end"),
      (zip("trace.npy"), "(.npz)", "['trace']"), (zip("archive/data.pkl"), "(.pt)", "torch.load"),
      (zip("a.txt"), "(.zip)", "unzip"), ([0x1F, 0x8B, 8] + tail, "(.gz)", "gzip -dk"),
      ([0x28, 0xB5, 0x2F, 0xFD] + tail, "(.zst)", "zstd -dk"),
      ([0x89] + Array("HDF\r\n".utf8) + tail, "(.h5)", "h5py"),
      (Array("PAR1".utf8) + tail, "(.parquet)", "read_parquet"),
      ([0x80, 4] + tail, "(.pkl", "pickle.load"),
      (Array("layer_id,expert_id,count\n3,0,24990\n".utf8), "(.csv)", "loadtxt"),
      (Array("1\t2\n".utf8), "(.tsv)", "loadtxt"), (Array("1 2\n3 4\n".utf8), "text", "loadtxt"),
      (Array("{\"a\": [1]}\n".utf8), "(.json)", "json.load"),
      (Array("{\"a\": 1}\n{\"a\": 2}\n".utf8), "(.jsonl)", "json.loads"),
      (Array("[[1, 2]]".utf8), "(.json)", "json.load"),
      (Array("<!DOCTYPE html>".utf8), "HTML", "download"),
      (Array("version https://git-lfs.github.com/spec/v1\n".utf8), "Git LFS", "git lfs pull"),
      (Array("{\n  \"format\": \"colocate-plan\"".utf8), "a plan", "where a plan is asked for"),
      (Array("Expert,Node\n0,1\n".utf8), "a plan", "where a plan is asked for"),
    ] as [([UInt8], String, String)] {
      let text = try message(bytes)
      #expect(text.contains(name) && text.contains(remedy), "\(text)")
      #expect(text.contains("expected a .npy or .safetensors file"), "\(text)")
    }
    for (type, reason) in [
      ("<f4", "astype('int32')"), ("|b1", "numpy.nonzero"), ("|O", "rows of one length"),
      ("<U3", "astype('int32')"),
    ] {
      #expect(try message(npy(type, shape: "(1, 1)", data: [0])).contains(reason))
    }
    let structured = npy("@", shape: "(1, 1)", data: [0])
    let text = String(decoding: structured[10..<(structured.count - 1)], as: UTF8.self)
      .replacingOccurrences(of: "'@'", with: "[('a', '<i4'), ('b', '<i4')]")
    let length = [UInt8(text.utf8.count), 0]
    var changed = Array(structured[..<8])
    changed += length
    changed += text.utf8
    changed.append(0)
    #expect(try message(changed).contains("[FIELD]"))
  }

  @Test func safetensorsByAnyName() throws {
    let bytes = safetensors([("trace", [3, 2], [0, 1, 1, 0, 0, 1])])
    #expect(try message(bytes, "t.bin") == "read" && message(bytes, "t.npy") == "read")
  }

  @Test func plansAndTracesChangedOver() throws {
    let array = try scratch.write(npy("|u1", shape: "(2, 2)", data: [0, 1, 1, 0]), "t.npy")
    do throws(FormatError) {
      _ = try PlanFile.read(array)
      Issue.record("an array was read as a plan")
    } catch { #expect(error.message.contains("a numpy array (.npy), expected a plan")) }
    do throws(FormatError) {
      _ = try ExFlowCSV.read(array, layers: 2, experts: 2)
      Issue.record("an array was read as a table")
    } catch { #expect(error.message.contains("a numpy array (.npy), expected a table")) }
    do throws(FormatError) {
      _ = try CertificateFile.read(array)
      Issue.record("an array was read as a certificate")
    } catch { #expect(error.message.contains("a numpy array (.npy), expected a certificate")) }
    do throws(FormatError) {
      _ = try JSONDocument.read(array)
      Issue.record("an array was read as JSON")
    } catch { #expect(error.message.contains("a numpy array (.npy), expected a JSON document")) }
  }

  @Test func pipesAreNamed() throws {
    let path = scratch.file("fifo")
    #expect(mkfifo(path, 0o600) == 0)
    do throws(FormatError) {
      _ = try TraceFile(path)
      Issue.record("a pipe was read")
    } catch { #expect(error.message.contains("a pipe, expected a file: save")) }
  }

  @Test func integerArraysOfAnyShape() throws {
    let fortran = try scratch.write(
      npy(">i4", fortran: true, shape: "(2, 3)", data: bytes([1, 4, 2, 5, 3, 6], ">i4")), "f.npy")
    let array = try IntegerArray(npy: fortran)
    #expect(array.shape == [2, 3] && array.elementName == ">i4")
    #expect(
      try array.integers() == [1, 2, 3, 4, 5, 6] && array.integers(rows: 1..<2) == [4, 5, 6])
    let flat = try scratch.write(npy("<i8", shape: "(2,)", data: bytes([-7, 9], "<i8")), "1.npy")
    #expect(try IntegerArray(npy: flat).integers() == [-7, 9])
    let scalar = try scratch.write(
      npy("<i2", fortran: true, shape: "()", data: bytes([5], "<i2")), "0.npy")
    #expect(try IntegerArray(npy: scalar).integers() == [5])
    let archive = try scratch.write(zip("a.npy"), "z.npy")
    do throws(FormatError) {
      _ = try IntegerArray(npy: archive)
      Issue.record("a zip was read")
    } catch { #expect(error.message.contains("(.npz), expected a .npy array")) }
    do throws(FormatError) {
      _ = try IntegerFile(archive)
      Issue.record("a zip was read")
    } catch { #expect(error.message.contains("(.npz), expected a .npy array")) }
  }
}
