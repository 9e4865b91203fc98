#include "tools/training/foreign_format.h"

#include <algorithm>
#include <cctype>

namespace tapescope {
namespace {

using namespace std::string_view_literals;

// Where weights are taken from any file these are read (torch_file.h).
constexpr const char* kTorch =
    "is a PyTorch file (.pth, .pt, .bin), not a model of this program: give it to `train "
    "--weights`, or write its tensors as safetensors with `tapescope weights FILE --out "
    "model.safetensors`";
constexpr const char* kNumpy =
    "is a NumPy file, not safetensors; in Python, save it with "
    "safetensors.numpy.save_file(dict(numpy.load(\"file.npz\")), \"model.safetensors\")";
constexpr const char* kHtml =
    "is a web page, not safetensors: what was downloaded is perhaps the page about the file, or of "
    "an error; download the file itself";

// The name of a zip archive's first file; its header has 30 bytes and the name's length at 26.
std::string_view first_name_in_zip(std::string_view head) {
  if (head.size() < 30) return {};
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(head[at]); };
  return head.substr(30, byte(26) | std::size_t{byte(27)} << 8);
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string lower_case_start(std::string_view head) {
  while (!head.empty() && (std::isspace(static_cast<unsigned char>(head[0])) != 0 ||
                           static_cast<unsigned char>(head[0]) >= 0xBB)) {
    head.remove_prefix(1);  // white space, or the three bytes of a byte order mark
  }
  std::string text(head.substr(0, 64));
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

std::string foreign_format(std::string_view head) {
  if (head.empty()) return "is empty, too short for a safetensors file; copy or download it again";
  if (head.starts_with("PK\x03\x04"sv)) {
    const std::string_view name = first_name_in_zip(head);
    if (name.ends_with(".npy")) return kNumpy;
    if (contains(name, "/data.pkl") || contains(name, "/byteorder") || contains(name, "/version") ||
        contains(name, "/.format_version") || contains(name, "/.data") ||
        contains(name, "/.storage") || contains(name, "/code/")) {
      return kTorch;
    }
    return "is a zip archive, not safetensors and not what torch.save writes; if it was packed "
           "around the weights, unpack it first";
  }
  // Python's pickle, protocols 2 to 5: what torch.save wrote before version 1.6.
  // Not a safetensors file whose header has such a length.
  if (head.size() > 1 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5 &&
      (head.size() <= 8 || head[8] != '{')) {
    return kTorch;
  }
  if (head.starts_with("\x93NUMPY")) return kNumpy;
  if (head.starts_with("\x89HDF\r\n\x1a\n")) {
    return "is an HDF5 file (Keras .h5), not safetensors; only safetensors files are read, with "
           "the "
           "names and layouts of PyTorch's state_dict";
  }
  if (head.starts_with("GGUF")) {
    return "is a GGUF file, not safetensors; only safetensors files are read";
  }
  if (head.starts_with("version https://git-lfs")) {
    return "is a git-lfs pointer, not the file itself; fetch it with `git lfs pull`";
  }
  if (head.starts_with("\x1f\x8b") || head.starts_with("BZh") ||
      head.starts_with("\xfd"
                       "7zXZ") ||
      head.starts_with("\x28\xb5\x2f\xfd") || head.starts_with("7z\xbc\xaf") ||
      (head.size() > 262 && head.substr(257, 5) == "ustar")) {
    return "is a packed file or an archive, not safetensors; unpack it first";
  }
  // ONNX is a protobuf: the version of its format, then who wrote it.
  if (head.size() > 3 && head[0] == '\x08' && head[1] > 0 && head[1] < 32 &&
      (head[2] == '\x12' || contains(head, "pytorch") || contains(head, "onnx"))) {
    return "is an ONNX model, not safetensors; in PyTorch, save the net that it was made of with "
           "safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")";
  }
  const std::string text = lower_case_start(head);
  if (text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") ||
      text.starts_with("<head") || text.starts_with("<error")) {
    return kHtml;
  }
  if (text.starts_with("{\"") || text.starts_with("{ \"")) {
    return "is JSON text, not safetensors: perhaps an index of several files, or a server's error "
           "message; give the file of the weights itself";
  }
  return "";
}

}  // namespace tapescope
