// In the place of stored_zip.cpp where libarchive is not there.
#include "engine/error.h"
#include "tools/files/text.h"
#include "tools/training/stored_zip.h"

namespace tapescope {

struct StoredZip::Cursor {};

StoredZip::StoredZip(const std::filesystem::path& file) {
  throw usage_error(
      "{}: is a zip archive (PyTorch's files are), and this build reads none: install "
      "libarchive-dev and build again, or in Python save the weights with "
      "safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")",
      printable(file.string()));
}
StoredZip::~StoredZip() = default;
void StoredZip::expect_stored(std::size_t) const {}
void StoredZip::read(std::size_t, std::span<std::byte>) {}
std::string zip_library() { return ""; }

}  // namespace tapescope
