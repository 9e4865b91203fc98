#include "tools/training/safetensors.h"

#include <cmath>

#include "engine/philox.h"
#include "tests/tools/temporary_folder.h"
#include "tools/files/atomic_file.h"

namespace tapescope {
namespace {

void expect_says(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

// What make_safetensors.py put into reference.safetensors.
std::vector<StoredTensor> reference_tensors() {
  std::vector<float> weight(24);
  for (std::size_t i = 0; i < 24; ++i) weight[i] = static_cast<float>(i) / 8 - 1;
  return {{"bytes", Tensor::from<std::uint8_t>({5}, {0, 1, 2, 3, 4})},
          {"conv1.weight", Tensor::from<float>({2, 3, 2, 2}, std::span<const float>(weight))},
          {"empty", Tensor({DType::f32, {0, 3}})},
          {"double", Tensor::from<double>({2}, {1.0 / 3, -2e300})},
          {"bn1.num_batches_tracked", Tensor::scalar_i64(12345678901)}};
}

TEST(Safetensors, ReadsAndWritesTheReferenceImplementationsBytes) {
  const auto path = fixture("safetensors/reference.safetensors");
  const Safetensors file = read_safetensors(path);
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"classes", "[\"a\", \"ü\"]"}}));
  ASSERT_EQ(file.tensors.size(), 5u);
  for (const StoredTensor& expected : reference_tensors()) {
    const Tensor* found = file.find(expected.name);
    ASSERT_NE(found, nullptr) << expected.name;
    EXPECT_EQ(found->type(), expected.tensor.type());
    EXPECT_EQ(std::memcmp(found->data(), expected.tensor.data(), found->bytes()), 0);
  }
  EXPECT_EQ(file.find("absent"), nullptr);
  const TemporaryFolder folder;
  write_safetensors(folder / "x", reference_tensors(), file.metadata);
  EXPECT_EQ(get(folder / "x"), get(path));
}

TEST(Safetensors, NarrowTypesAreWidened) {
  const Safetensors file = read_safetensors(fixture("safetensors/narrow.safetensors"));
  const Tensor& half = *file.find("half");
  ASSERT_EQ(half.dtype(), DType::f32);
  EXPECT_EQ(half.item(0), 0);
  EXPECT_EQ(half.item(1), -1.5);
  EXPECT_EQ(half.item(2), 65504);
  EXPECT_EQ(half.item(3), std::ldexp(1.0, -24));  // the smallest one
  EXPECT_TRUE(std::isinf(half.item(4)));
  const Tensor& narrow = *file.find("int");
  ASSERT_EQ(narrow.dtype(), DType::i64);
  EXPECT_EQ(narrow.values<std::int64_t>()[0], -7);
  EXPECT_EQ(narrow.values<std::int64_t>()[1], 2147483647);
}

TEST(Safetensors, BytesDependOnContentOnly) {
  const TemporaryFolder folder;
  auto tensors = reference_tensors();
  tensors.push_back({"b", Tensor::full({DType::bf16, {3}}, 1.5)});
  write_safetensors(folder / "a", tensors, {{"k", "v"}, {"a", "b"}});
  std::reverse(tensors.begin(), tensors.end());
  write_safetensors(folder / "b", tensors, {{"a", "b"}, {"k", "v"}});
  EXPECT_EQ(get(folder / "a"), get(folder / "b"));
  EXPECT_EQ(read_safetensors(folder / "a").find("b")->item(2), 1.5);
  write_safetensors(folder / "none", {});
  EXPECT_TRUE(read_safetensors(folder / "none").tensors.empty());
}

TEST(Safetensors, WritingReplacesAtomicallyAndLeavesNothingBehind) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x", reference_tensors());
  write_safetensors(folder / "x", {{"only", Tensor::scalar(1)}});
  EXPECT_EQ(read_safetensors(folder / "x").tensors.size(), 1u);
  const std::filesystem::directory_iterator files(folder.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
  try {
    write_safetensors(folder / "no/such/x", {});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.blame(), Blame::failure);
  }
  EXPECT_NE(usage_message([&] {
              write_safetensors(folder / "y", {{"a", Tensor::scalar(1)}, {"a", Tensor::scalar(2)}});
            }),
            "");
  EXPECT_NE(usage_message([&] {
              write_safetensors(folder / "y", {{"__metadata__", Tensor::scalar(1)}});
            }),
            "");
  EXPECT_NE(usage_message([&] {
              write_safetensors(folder / "y", {{"\xff", Tensor::scalar(1)}});
            }),
            "");
  EXPECT_FALSE(std::filesystem::exists(folder / "y"));
}

std::string with_header(const std::string& header, std::size_t data) {
  std::string out(8, '\0');
  const std::uint64_t size = header.size();
  std::memcpy(out.data(), &size, 8);
  return out + header + std::string(data, '\x01');
}

TEST(Safetensors, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  expect_says(usage_message([&] { read_safetensors(folder / "absent"); }), "no such file");
  expect_says(usage_message([&] { read_safetensors(folder.path()); }), "is a folder");
  const auto says = [&](const std::string& bytes, const std::string& part) {
    put(folder / "x", bytes);
    expect_says(usage_message([&] { read_safetensors(folder / "x"); }), part);
  };
  const auto tensor = [](const std::string& rest) { return "{\"a\":{" + rest + "}}"; };
  const std::string f32 = "\"dtype\":\"F32\",";
  says("", "too short");
  says("1234567", "too short");
  says("This is a text.", "no safetensors file");
  says(std::string("\x40\0\0\0\0\0\0\0{}", 10), "cut short");
  says(with_header("{", 0), "not JSON");
  says(with_header("[]", 0), "not a JSON object");
  says(with_header("{\"a\":\"\xff\"}", 0), "not JSON");
  says(with_header("{\"a\":[[[[[[[1]]]]]]]}", 0), "nested");
  says(with_header("{\"a\":1}", 0), "lacks");
  says(with_header(tensor(f32 + "\"shape\":[2]"), 8), "lacks");
  says(with_header(tensor(f32 + "\"shape\":[2],\"data_offsets\":[0]"), 8), "lacks");
  says(with_header(tensor("\"dtype\":\"C64\",\"shape\":[1],\"data_offsets\":[0,8]"), 8), "C64");
  says(with_header(tensor(f32 + "\"shape\":[2],\"data_offsets\":[0,4]"), 4), "needs 8 bytes");
  says(with_header(tensor(f32 + "\"shape\":[2],\"data_offsets\":[8,0]"), 8), "needs 8 bytes");
  says(with_header(tensor(f32 + "\"shape\":[-2],\"data_offsets\":[0,8]"), 8), "whole numbers");
  says(with_header(tensor(f32 + "\"shape\":[2.0],\"data_offsets\":[0,8]"), 8), "whole numbers");
  says(with_header(tensor(f32 + "\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4), "7 axes");
  says(with_header(tensor(f32 + "\"shape\":[4294967296,4294967296,16],\"data_offsets\":[0,0]"), 0),
       "impossible shape");
  says(with_header(tensor(f32 + "\"shape\":[2],\"data_offsets\":[0,8]"), 7), "cut short");
  says(with_header(tensor(f32 + "\"shape\":[2],\"data_offsets\":[0,8]"), 9), "too long");
  says(with_header(tensor(f32 + "\"shape\":[1],\"data_offsets\":[4,8]"), 8), "hole");
  const std::string one = "{" + f32 + "\"shape\":[1],\"data_offsets\":[0,4]}";
  const std::string two = "{" + f32 + "\"shape\":[1],\"data_offsets\":[4,8]}";
  says(with_header("{\"a\":" + one + ",\"b\":" + one + "}", 4), "overlaps");
  says(with_header("{\"a\":" + one + ",\"a\":" + two + "}", 8), "\"a\" twice");
  says(with_header("{\"__metadata__\":{\"x\":1}}", 0), "not a string");
  says(with_header("{\"__metadata__\":[]}", 0), "not a JSON object");
  says(with_header("{\"__metadata__\":{\"x\":\"1\",\"x\":\"2\"}}", 0), "\"x\" twice");
  put(folder / "x", with_header("{\"b\":" + two + ",\"a\":" + one + "}", 8));
  EXPECT_EQ(read_safetensors(folder / "x").tensors[0].name, "a") << "order of the data";
}

TEST(Safetensors, DamageIsAnErrorOrOtherValuesButNeverACrash) {
  const TemporaryFolder folder;
  const auto whole = get(fixture("safetensors/reference.safetensors"));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    put(folder / "cut", std::span(whole.data(), size));
    EXPECT_THROW(read_safetensors(folder / "cut"), Error) << "cut to " << size;
  }
  PhiloxStream random(11);
  for (int round = 0; round < 3000; ++round) {
    auto bytes = whole;
    for (int k = 0; k <= round % 3; ++k) {
      const std::size_t at =
          random.below(static_cast<std::uint32_t>(round % 2 == 0 ? 420 : whole.size()));
      bytes[at] = round % 5 == 0 ? static_cast<std::uint8_t>(random.next_u32())
                                 : static_cast<std::uint8_t>(bytes[at] ^ 1u << random.below(8));
    }
    put(folder / "flip", bytes);
    try {
      read_safetensors(folder / "flip");
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::usage) << error.what();
    }
  }
}

TEST(AtomicFile, WritesText) {
  const TemporaryFolder folder;
  write_atomically(folder / "t", "one\n");
  write_atomically(folder / "t", "two\n");
  const auto bytes = get(folder / "t");
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), "two\n");
}

}  // namespace
}  // namespace tapescope
