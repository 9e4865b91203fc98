// What torch.save wrote: every form of it, and files that mean harm.
#include "tools/training/torch_file.h"

#include <zlib.h>

#include <chrono>

#include "engine/allocator.h"
#include "layers/models/zoo.h"
#include "tests/says.h"
#include "tests/tools/temporary_folder.h"
#include "tools/training/safetensors.h"
#include "tools/training/stored_zip.h"
#include "tools/training/weights.h"

namespace tapescope {
namespace {

using namespace std::string_literals;

// Every tensor of `expected` is in the file, bit for bit, and no other.
void expect_holds(const std::filesystem::path& path, const std::filesystem::path& expected) {
  const Safetensors want = read_safetensors(expected);
  const auto file = open_weights(path);
  EXPECT_EQ(file->entries().size(), want.tensors.size()) << path;
  for (const StoredTensor& tensor : want.tensors) {
    const WeightsFile::Entry* entry = file->find(tensor.name);
    ASSERT_NE(entry, nullptr) << path << ": " << tensor.name;
    const Tensor got = file->read(*entry);
    ASSERT_EQ(got.type(), tensor.tensor.type()) << path << ": " << tensor.name;
    EXPECT_EQ(std::memcmp(got.data(), tensor.tensor.data(), got.bytes()), 0)
        << path << ": " << tensor.name;
  }
}

#define NEEDS_LIBARCHIVE() \
  if (zip_library().empty()) GTEST_SKIP() << "this build has no libarchive"

TEST(TorchFile, EveryDtypeAndViewIsReadInEveryFormOfTheFile) {
  const auto expected = fixture("torch/kinds.safetensors");
  expect_holds(fixture("torch/kinds_old.pt"), expected);
  NEEDS_LIBARCHIVE();
  for (const char* name : {"kinds.pt", "kinds_protocol4.pt", "kinds_zip64.pt"}) {
    expect_holds(fixture("torch/"s + name), expected);
  }
}

TEST(TorchFile, ModulesAreReadThroughWhatTheyHold) {
  NEEDS_LIBARCHIVE();
  expect_holds(fixture("torch/module.pt"), fixture("torch/net.safetensors"));
  expect_holds(fixture("torch/script.pt"), fixture("torch/net.safetensors"));
  const auto module = open_weights(fixture("torch/module.pt"));
  ASSERT_EQ(module->notices().size(), 1u);
  EXPECT_SAYS(module->notices()[0], "pickled __main__.Net");
}

TEST(TorchFile, CheckpointsAreLookedInto) {
  NEEDS_LIBARCHIVE();
  expect_holds(fixture("torch/ema.pt"), fixture("torch/average.safetensors"));
  const auto averaged = open_weights(fixture("torch/ema.pt"));
  ASSERT_FALSE(averaged->notices().empty());
  EXPECT_SAYS(averaged->notices()[0], "'ema' of the file is taken, not 'model'");
  // The optimiser's tensors are no weights; the prefix is left to who knows the model.
  const auto file = open_weights(fixture("torch/checkpoint.pt"));
  const Safetensors want = read_safetensors(fixture("torch/net_stepped.safetensors"));
  ASSERT_EQ(file->entries().size(), want.tensors.size());
  for (const StoredTensor& tensor : want.tensors) {
    ASSERT_NE(file->find("module." + tensor.name), nullptr) << tensor.name;
  }
}

// --- archives and pickles made by hand -----------------------------------------------------------

std::string le(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i & 255);
  return text;
}

struct ZipPart {
  std::string name, content;
  bool deflate = false;
  std::uint32_t size = 0;  // what the directory claims; 0: what there is
};

std::string deflated(const std::string& text) {
  std::string out(compressBound(text.size()), '\0');
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// APPNOTE.TXT 4.3: local headers with the data, the central directory, its end.
std::string zip(const std::vector<ZipPart>& parts) {
  std::string file, directory;
  for (const ZipPart& part : parts) {
    const std::string data = part.deflate ? deflated(part.content) : part.content;
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(part.content.data()),
                           static_cast<uInt>(part.content.size()));
    const std::uint64_t size = part.size != 0 ? part.size : part.content.size();
    const std::uint64_t packed = part.size != 0 ? part.size : data.size();
    const std::string common = le(20, 2) + le(0, 2) + le(part.deflate ? 8 : 0, 2) + le(0, 4) +
                               le(crc, 4) + le(packed, 4) + le(size, 4) + le(part.name.size(), 2) +
                               le(0, 2);
    directory += "PK\x01\x02"s + le(20, 2) + common + le(0, 2) + le(0, 2) + le(0, 2) + le(0, 4) +
                 le(file.size(), 4) + part.name;
    file += "PK\x03\x04"s + common + part.name + data;
  }
  const std::size_t begin = file.size();
  return file + directory + "PK\x05\x06"s + le(0, 4) + le(parts.size(), 2) + le(parts.size(), 2) +
         le(directory.size(), 4) + le(begin, 4) + le(0, 2);
}

std::string number(std::int64_t value) {
  return "\x8a\x08"s + le(static_cast<std::uint64_t>(value), 8);
}
std::string text(const std::string& word) { return "X" + le(word.size(), 4) + word; }
std::string numbers(const std::vector<std::int64_t>& values) {
  std::string code = "(";
  for (const std::int64_t value : values) code += number(value);
  return code + "t";
}
// torch._utils._rebuild_tensor_v2(storage '0' of 12 floats, ...)
std::string tensor(std::int64_t offset, const std::vector<std::int64_t>& shape,
                   const std::vector<std::int64_t>& stride,
                   const std::string& storage = "ctorch\nFloatStorage\n",
                   std::int64_t elements = 12) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + storage + text("0") +
         text("cpu") + number(elements) + "tQ" + number(offset) + numbers(shape) + numbers(stride) +
         "\x89" + "NtR";
}
// {'w': value, ...}
std::string pickled(const std::string& value) { return "\x80\x02}(" + text("w") + value + "u."; }

std::string archive(const std::string& pickle, std::size_t storage = 48) {
  return zip({{"net/data.pkl", pickle}, {"net/data/0", std::string(storage, '\0')}});
}

class Malicious : public testing::Test {
 protected:
  void SetUp() override { NEEDS_LIBARCHIVE(); }
  // One sentence that holds all parts, without much memory, in no time.
  void refused(const std::string& bytes, const std::vector<std::string>& parts) {
    put(folder_ / "x.pt", bytes);
    Allocator& memory = Allocator::of(Device::cpu());
    const std::size_t before = memory.use().live;
    memory.reset_peak();
    const std::string message = usage_message([&] {
      const auto file = open_weights(folder_ / "x.pt");
      for (const WeightsFile::Entry& entry : file->entries()) file->read(entry);
    });
    EXPECT_LT(memory.use().peak, before + (std::size_t{1} << 20));
    EXPECT_SAYS(message, "x.pt");
    for (const std::string& part : parts) EXPECT_SAYS(message, part);
    EXPECT_LT(message.size(), 700u) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  std::unique_ptr<WeightsFile> taken(const std::string& bytes) {
    put(folder_ / "x.pt", bytes);
    return open_weights(folder_ / "x.pt");
  }
  TemporaryFolder folder_;
};

TEST_F(Malicious, AWholeOneIsRead) {
  const auto file = taken(archive(pickled(tensor(2, {2, 3}, {4, 1}))));
  ASSERT_EQ(file->entries().size(), 1u);
  EXPECT_EQ(file->read(file->entries()[0]).shape(), (Shape{2, 3}));
}

TEST_F(Malicious, CodeIsNeverRun) {
  const std::string mark = (folder_ / "was-here").string();
  // os.system("touch ..."), in every way a pickle can say it.
  const std::string argument = "(" + text("touch " + mark) + "t";
  const std::vector<std::string> calls = {
      "cposix\nsystem\n" + argument + "R",
      "cos\nsystem\n" + argument + "R",
      text("os") + text("system") + "\x93" + argument + "R",
      "cbuiltins\neval\n(" + text("__import__('os').system('touch " + mark + "')") + "tR",
      "csubprocess\nPopen\n" + argument + "\x81",
      "csubprocess\nPopen\n" + argument + "}\x92"};
  for (const std::string& call : calls) {
    // Alone: nothing that could be weights. Beside a tensor: passed over, and said.
    refused(archive("\x80\x02" + call + "."), {"holds no tensors"});
    const auto file = taken(archive(pickled(tensor(0, {12}, {1}) + text("x") + call)));
    EXPECT_EQ(file->entries().size(), 1u);
    ASSERT_EQ(file->notices().size(), 1u);
    EXPECT_SAYS(file->notices()[0], "nothing was run");
    // In a tensor's place, as its storage, as its hooks, as its state.
    refused(archive(pickled(call)), {"holds no tensors"});
    refused(archive(pickled("ctorch._utils\n_rebuild_tensor_v2\n(" + call + number(0) +
                            numbers({1}) + numbers({1}) + "\x89NtR")),
            {"made of no storage"});
    EXPECT_EQ(taken(archive(pickled(tensor(0, {12}, {1}) + call + "b")))->entries().size(), 1u);
  }
  EXPECT_FALSE(std::filesystem::exists(mark));
  // A name alone is no call either.
  refused(archive("\x80\x02"s + "cbuiltins\nexec\n."), {"holds no tensors"});
}

TEST_F(Malicious, ShapesStridesAndOffsetsStayInTheStorage) {
  const std::int64_t huge = std::int64_t{1} << 40;
  const auto bad = [&](std::int64_t offset, const std::vector<std::int64_t>& shape,
                       const std::vector<std::int64_t>& stride, const std::string& says) {
    refused(archive(pickled(tensor(offset, shape, stride))), {says});
  };
  bad(1, {12}, {1}, "leaves its storage");
  bad(0, {13}, {1}, "leaves its storage");
  bad(0, {3}, {6}, "leaves its storage");
  bad(12, {}, {}, "leaves its storage");
  bad(-1, {2}, {1}, "at offset -1");
  bad(0, {-2}, {1}, "whole numbers from 0");
  bad(0, {2}, {-1}, "whole numbers from 0");
  bad(0, {huge, huge}, {0, 0}, "impossible");
  bad(0, {huge, huge, 0}, {0, 0, 1}, "impossible");
  bad(0, {huge}, {huge}, "impossible");
  bad(huge, {2}, {INT64_MAX}, "leaves its storage");
  bad(0, {2, 2}, {1}, "do not fit together");
  bad(0, {huge}, {0}, "claim more than");
  bad(0, std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 1), "65 axes");
  bad(0, std::vector<std::int64_t>(7, 1), std::vector<std::int64_t>(7, 1), "7 axes");
  // The pickle and the storage disagree; a storage that is not there.
  refused(archive(pickled(tensor(0, {12}, {1})), 47), {"too few for the 12 elements"});
  refused(zip({{"net/data.pkl", pickled(tensor(0, {12}, {1}))}}), {"lacks the storage '0'"});
  refused(archive(pickled(tensor(0, {12}, {1}, "ctorch\nComplexFloatStorage\n"))),
          {"ComplexFloatStorage", "are read"});
  refused(archive(pickled(tensor(0, {1}, {1}, "ctorch\nFloatStorage\n", -1))), {"as nobody does"});
  // A million tensors of one storage.
  std::string many = "\x80\x02}(";
  for (int i = 0; i < 3000; ++i) {
    many += text("w" + std::to_string(i)) + tensor(0, {100'000}, {0});
  }
  refused(archive(many + "u."), {"claim more than"});
}

TEST_F(Malicious, PicklesAreBounded) {
  const auto bad = [&](const std::string& pickle, const std::string& says) {
    refused(archive(pickle), {"its pickle", says});
  };
  bad("", "cut short");
  bad("\x80\x02", "cut short");
  bad("\x80\x07N.", "protocol 7");
  bad(".", "empty stack");
  bad("\x80\x02t.", "mark");
  bad("\x80\x02(R.", "empty stack");
  bad("\x80\x02N(0"
      "0.",
      "empty stack");
  bad("\x80\x02h\x05.", "recalls value 5");
  bad("\x80\x02NNa.", "puts items");
  bad("\x80\x02}(Nu.", "key without a value");
  bad("\x80\x02S'os'\n.", "0x53");
  bad("\x80\x02\x82\x01.", "0x82");
  bad("\x80\x04\x8e" + le(std::uint64_t{1} << 60, 8) + "x.", "cut short");
  bad("\x80\x02X" + le(0xffffffff, 4) + "x.", "cut short");
  bad("\x80\x02\x8b" + le(0xffffffff, 4) + "x.", "cut short");
  bad("\x80\x02NN\x93.", "by no name");
  // A list in a list, 300,000 deep, is only a table; a dict in a dict is too deep to hold weights.
  refused(archive("\x80\x02" + std::string(300'000, ']') + std::string(299'999, 'a') + "."),
          {"nests more than"});
  std::string deep = "\x80\x02";
  for (int i = 0; i < 1000; ++i) deep += "}" + text("a");
  deep += "N" + std::string(1000, 's') + ".";
  refused(archive(deep), {"nests more than"});
  // Each list twice in the next: 2^60 lists.
  std::string laughs =
      "\x80\x02]q\x01"
      "0";
  for (int i = 0; i < 60; ++i)
    laughs +=
        "](h\x01h\x01"
        "eq\x01"
        "0";
  refused(archive(laughs + "h\x01."), {"again and again"});
  // A list that holds itself.
  refused(archive("\x80\x02]q\x01h\x01"
                  "a."),
          {"nests more than"});
  // More values, instructions and memo places than any model needs.
  refused(archive("\x80\x02(" + std::string(1'100'000, '}') + "t."), {"1000000 values"});
  refused(archive("\x80\x02" +
                  [] {
                    std::string dup = "N";
                    for (int i = 0; i < 4'100'000; ++i) dup += "20";
                    return dup;
                  }() +
                  "."),
          {"8000000 steps"});
}

TEST_F(Malicious, ArchivesAreNotUnpacked) {
  const std::string good = pickled(tensor(0, {12}, {1}));
  const std::string storage(48, '\0');
  const std::string whole = zip({{"net/data.pkl", good}, {"net/data/0", storage}});
  EXPECT_EQ(taken(whole)->entries().size(), 1u);
  // Cut anywhere.
  for (std::size_t size = 4; size < whole.size(); size += 7) {
    put(folder_ / "x.pt", whole.substr(0, size));
    usage_message([&] {
      const auto file = open_weights(folder_ / "x.pt");
      file->read(file->entries().at(0));
    });
  }
  // A bomb: 100 MB of zeros in 100 KB.
  refused(zip({{"net/data.pkl", good}, {"net/data/0", std::string(100'000'000, '\0'), true}}),
          {"'net/data/0' is compressed", "deflation"});
  refused(zip({{"net/data.pkl", good, true}, {"net/data/0", storage}}), {"is compressed"});
  refused(zip({{"net/data.pkl", good}, {"net/data/0", storage, false, 0x7fffffff}}),
          {"claim more bytes"});
  for (const char* name : {"../../etc/passwd", "net/../x", "/etc/passwd", "net\\..\\x", ".."}) {
    refused(zip({{"net/data.pkl", good}, {"net/data/0", storage}, {name, "x"}}),
            {"leads out of the archive"});
  }
  refused(zip({{"net/data.pkl", good}, {"net/data/0", storage}, {"net/data/0", storage}}),
          {"two parts 'net/data/0'"});
  refused(zip({{"a/readme", "x"}}), {"zip archive", "unpack"});
  refused(zip({{"net/data.pkl", good}, {"net/data/0", storage}, {"net/byteorder", "big"}}),
          {"big-endian"});
  // A changed byte is found by the checksum.
  std::string flipped = whole;
  flipped[whole.find(storage) + 5] = 1;
  refused(flipped, {"'net/data/0' cannot be read whole"});
  // Names with what moves a terminal's cursor.
  refused(zip({{"net/data.pkl", good}, {"net/\x1b[2J/../0", storage}}), {"\\x1b[2J"});
}

TEST_F(Malicious, AMillionPartsAreRefused) {
#ifdef __SANITIZE_ADDRESS__
  std::vector<ZipPart> parts(StoredZip::kMostParts + 1);
#else
  std::vector<ZipPart> parts(1'000'000);  // the end of the directory counts 65,535 at most
#endif
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i].name = fmt::format("n/{}", i);
  refused(zip(parts), {"more than 200000 parts"});
}

TEST_F(Malicious, DamageIsAnErrorOrOtherValuesButNeverACrash) {
  std::uint64_t random = 11;
  const auto next = [&] { return random = random * 6364136223846793005u + 1442695040888963407u; };
  for (const char* name : {"kinds.pt", "kinds_old.pt", "ema.pt"}) {
    const auto whole = get(fixture("torch/"s + name));
    for (int round = 0; round < 400; ++round) {
      auto bytes = whole;
      for (int k = 0; k <= round % 3; ++k) {
        bytes[(next() >> 33) % bytes.size()] = static_cast<std::uint8_t>(next() >> 56);
      }
      put(folder_ / "x.pt", bytes);
      try {
        const auto file = open_weights(folder_ / "x.pt");
        for (const WeightsFile::Entry& entry : file->entries()) file->read(entry);
      } catch (const Error& error) {
        EXPECT_EQ(error.blame(), Blame::usage) << error.what();
      }
    }
  }
}

// The length of its header is then 0x280.
TEST(TorchFile, ASafetensorsFileThatBeginsLikeAPickleIsNone) {
  const TemporaryFolder folder;
  for (int pad = 0; pad < 800; pad += 8) {
    write_safetensors(folder / "x", {{"a", Tensor::scalar(1)}},
                      {{"k", std::string(static_cast<std::size_t>(pad), 'x')}});
    EXPECT_EQ(open_weights(folder / "x")->entries().size(), 1u) << pad;
  }
}

TEST(TorchFile, OldFilesThatAreCutOrForeignAreRefused) {
  const TemporaryFolder folder;
  const auto whole = get(fixture("torch/kinds_old.pt"));
  for (std::size_t size = 15; size < whole.size(); size += 13) {
    put(folder / "x.pt", std::span(whole.data(), size));
    EXPECT_SAYS(usage_message([&] { open_weights(folder / "x.pt"); }), "cut short");
  }
  put(folder / "x.pt", "\x80\x04\x95"s + std::string(50, 'q'));
  EXPECT_SAYS(usage_message([&] { open_weights(folder / "x.pt"); }), "not one of torch.save's");
  EXPECT_SAYS(usage_message([&] { open_weights(folder / "absent.pt"); }), "no such file");
  EXPECT_SAYS(usage_message([&] { open_weights(folder.path()); }), "folder");
}

}  // namespace
}  // namespace tapescope
