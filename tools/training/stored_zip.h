// The uncompressed parts of a zip archive, as torch.save writes it, by libarchive. Nothing is
// unpacked to a disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tapescope {

class StoredZip {
 public:
  struct Part {
    std::string name;
    std::uint64_t bytes = 0;
    std::string packed = {};  // how, where it is compressed: "ZIP 2.0 (deflation)"
  };
  // Reads the list of parts. Throws a usage error, "FILE: ...", where this build has no libarchive,
  // the archive is damaged or encrypted, a part has a name twice or one that leads out of the
  // archive, parts claim more bytes than the file has, or there are more than kMostParts.
  explicit StoredZip(const std::filesystem::path& file);
  ~StoredZip();

  static constexpr std::size_t kMostParts = 200'000;

  const std::vector<Part>& parts() const { return parts_; }  // in the order of their data
  // A usage error where the part is compressed: what it unpacks to is not bounded by the file.
  void expect_stored(std::size_t index) const;
  // Part `index`'s bytes, of which `to` has as many. Parts in their order take one pass through the
  // file; going back begins another. Throws a usage error where the part is compressed, the archive
  // cut short or a checksum differs.
  void read(std::size_t index, std::span<std::byte> to);

 private:
  struct Cursor;
  void start();
  bool next();
  std::filesystem::path file_;
  std::string shown_;
  std::vector<Part> parts_;
  std::unique_ptr<Cursor> cursor_;
};

// "libarchive 3.6.2"; empty where this build has none.
std::string zip_library();

}  // namespace tapescope
