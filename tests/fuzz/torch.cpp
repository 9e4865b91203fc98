// What torch.save writes: the pickle alone, and files around it.
#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "tests/fuzz/fuzz.h"
#include "tools/training/torch_file.h"
#include "tools/training/torch_tensors.h"

namespace tapescope::fuzz {
namespace {

// Every element that a tensor counts on lies in its storage.
void check(const TorchTensor& tensor) {
  std::uint64_t last = tensor.offset;
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    if (tensor.shape[axis] == 0) return;
    last += static_cast<std::uint64_t>(tensor.stride[axis] * (tensor.shape[axis] - 1));
  }
  promise(last < tensor.elements, "a tensor lies in its storage");
}

void pickle(Bytes bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  sentence_of([&] {
    const Pickle read(text, "x.pt");
    promise(read.length() <= text.size(), "a pickle ends within its bytes");
    torch_storages(read, "x.pt");
    for (const TorchTensor& tensor : torch_tensors(read, "x.pt").tensors) {
      check(tensor);
      planted_fault(tensor.offset != 0 || tensor.elements != 12);
    }
  });
}

std::string little(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i & 255);
  return text;
}
std::string word(const std::string& text) { return "X" + little(text.size(), 4) + text; }

std::string tensor_code(const std::string& storage, int elements, const std::string& shape,
                        const std::string& stride) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + word("storage") + "ctorch\n" + storage + "\n" +
         word("0") + word("cpu") + "K" + static_cast<char>(elements) + std::string("tQK\0(", 5) +
         shape + "t(" + stride + "t\x89" + "NtR";
}

std::vector<std::string> pickles() {
  const std::string plain = tensor_code("FloatStorage", 12, "K\3K\4", "K\4K\1");
  const std::string state = "ccollections\nOrderedDict\n)Rq\1(" + word("a.weight") + plain +
                            word("a.bias") + tensor_code("FloatStorage", 12, "K\4", "K\1") + "u";
  return {"\x80\2" + state + ".", "\x80\2}(" + word("state_dict") + state + word("epoch") + "K\3u.",
          "\x80\2c__main__\nNet\n)\x81}(" + word("_parameters") + state + word("_modules") + "}ub.",
          "\x80\4\x95" + little(0, 8) + "}\x94\x8c\1w" + plain + "s."};
}

Seeds pickle_seeds() {
  Seeds seeds;
  for (const std::string& text : pickles()) seeds.push_back(bytes_of(text));
  return seeds;
}

void torch(Bytes bytes) {
  const std::filesystem::path path = write("weights.pt", bytes);
  if (!is_torch_file({reinterpret_cast<const char*>(bytes.data()), bytes.size()})) return;
  sentence_of([&] {
    TorchFile file(path);
    for (const WeightsFile::Entry& entry : file.entries()) {
      const Tensor tensor = file.read(entry);
      if (tensor.dtype() != DType::f32) continue;
      const auto values = tensor.values<float>();
      planted_fault(std::any_of(values.begin(), values.end(), [](float v) { return v != 0; }));
    }
  });
}

// The old form, which needs no checksums: five pickles, then the storages.
Seeds torch_seeds() {
  Seeds seeds;
  for (const std::string& object : pickles()) {
    const std::string magic = "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.";
    const std::string keys = "\x80\2](" + word("0") + "e.";
    seeds.push_back(bytes_of(magic + "\x80\2M\xe9\3.\x80\2}" + word("little_endian") + "\x88s." +
                             object + keys + little(12, 8) + std::string(48, '\0')));
  }
  return seeds;
}

}  // namespace

const Target kPickle = {"pickle", pickle, pickle_seeds};
const Target kTorch = {"torch", torch, torch_seeds};

}  // namespace tapescope::fuzz
