#include "tools/data/idx.h"

#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <memory>
#include <new>

#include "engine/error.h"
#include "engine/thread_pool.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

// A gzip or plain file as a stream of bytes (zlib reads both).
class Reader {
 public:
  explicit Reader(const fs::path& path) : path_(path.string()) {
    std::error_code error;
    if (!fs::is_regular_file(path, error)) {
      throw usage_error("{}: no such file; check the folder's content", path_);
    }
    file_ = gzopen(path_.c_str(), "rb");
    if (file_ == nullptr) throw usage_error("{}: cannot be opened; check its permissions", path_);
    gzbuffer(file_, 1 << 17);
  }
  ~Reader() { gzclose(file_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Up to `size` bytes; fewer at the end of the file.
  std::size_t read(std::uint8_t* to, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
      const auto part = static_cast<unsigned>(std::min<std::size_t>(size - done, 1u << 30));
      const int n = gzread(file_, to + done, part);
      if (n < 0) stop();
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    // The end of a cut-off .gz reads like an end, and says so only here.
    int code = Z_OK;
    gzerror(file_, &code);
    if (code != Z_OK && code != Z_STREAM_END) stop();
    return done;
  }

 private:
  [[noreturn]] void stop() {
    int code = Z_OK;
    const std::string reason = gzerror(file_, &code);
    if (code == Z_BUF_ERROR) {
      throw usage_error("{}: the compressed file is cut off; download it again", path_);
    }
    throw usage_error("{}: the compressed file is corrupt ({}); download it again", path_, reason);
  }
  std::string path_;
  gzFile file_ = nullptr;
};

// What this process may have: the machine's memory, or less where it is limited (ulimit -v).
std::int64_t memory_for_process() {
  std::int64_t bytes = std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  rlimit limit = {};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    bytes = std::min(bytes, static_cast<std::int64_t>(limit.rlim_cur));
  }
  return bytes;
}

[[noreturn]] void too_large(const std::string& name, std::int64_t promised) {
  constexpr double kGiB = 1 << 30;
  throw usage_error(
      "{}: unpacks to {:.2f} GiB, as its header says, and IDX files are kept in memory, of which "
      "this process may have {:.2f} GiB; use a machine with more, raise the limit (ulimit -v), or "
      "split the file",
      name, static_cast<double>(promised) / kGiB, static_cast<double>(memory_for_process()) / kGiB);
}

// Before any memory is asked for: what the header promises has to be in the file, which deflate
// makes at most 1032 times as small, and to fit.
void check_promise(const fs::path& path, std::int64_t promised) {
  std::error_code error;
  const std::uintmax_t stored = fs::file_size(path, error);
  if (!error && static_cast<std::uintmax_t>(promised) / 1032 > stored) {
    throw usage_error(
        "{}: its header promises {} bytes, and its {} cannot hold them; download it "
        "again",
        path.string(), promised, stored);
  }
  if (promised > memory_for_process()) too_large(path.string(), promised);
}

// Fills in the extents; how many elements they promise.
std::int64_t read_header(Reader& reader, const std::string& name, IdxArray& array) {
  std::uint8_t magic[4] = {};
  if (reader.read(magic, 4) != 4) {
    throw usage_error("{}: is shorter than an IDX header; download it again", name);
  }
  if (magic[0] != 0 || magic[1] != 0 || magic[3] < 1 || magic[3] > 4) {
    throw usage_error(
        "{}: begins with {:02x} {:02x} {:02x} {:02x}, which is no IDX magic number (00 "
        "00 08 and the number of axes); is it the right file?",
        name, magic[0], magic[1], magic[2], magic[3]);
  }
  if (magic[2] != 0x08) {
    throw usage_error(
        "{}: its elements are of IDX type {:#04x}, and only unsigned bytes (0x08) are "
        "read; convert the file",
        name, magic[2]);
  }
  std::int64_t total = 1;
  for (int axis = 0; axis < magic[3]; ++axis) {
    std::uint8_t b[4] = {};
    if (reader.read(b, 4) != 4) {
      throw usage_error("{}: ends within its header; download it again", name);
    }
    const std::int64_t extent = std::int64_t{b[0]} << 24 | b[1] << 16 | b[2] << 8 | b[3];
    if (extent != 0 && total > (std::int64_t{1} << 40) / extent) {
      throw usage_error("{}: its header promises more than a terabyte; the file is corrupt", name);
    }
    total *= extent;
    array.extents.push_back(extent);
  }
  return total;
}

}  // namespace

IdxArray read_idx(const fs::path& path) {
  Reader reader(path);
  const std::string name = path.string();
  IdxArray array;
  const std::int64_t total = read_header(reader, name, array);
  check_promise(path, total);
  // In growing pieces: a corrupt header must not decide how much memory is asked for.
  std::size_t done = 0;
  const auto wanted = static_cast<std::size_t>(total);
  while (done < wanted) {
    const std::size_t piece = std::min(wanted - done, std::max<std::size_t>(done, 1u << 24));
    try {
      array.bytes.resize(done + piece);
    } catch (const std::bad_alloc&) {
      too_large(name, total);
    }
    const std::size_t n = reader.read(array.bytes.data() + done, piece);
    done += n;
    if (n < piece) {
      throw usage_error(
          "{}: is cut off: {} of the {} bytes that its header promises; download it "
          "again",
          name, done, wanted);
    }
  }
  std::uint8_t extra = 0;
  if (reader.read(&extra, 1) != 0) {
    throw usage_error(
        "{}: is longer than the {} bytes that its header promises; is it the right "
        "file?",
        name, wanted);
  }
  return array;
}

IdxDataset::IdxDataset(const fs::path& images, const fs::path& labels,
                       std::vector<std::string> classes)
    : file_name_(images.filename().string()),
      images_(read_idx(images)),
      labels_(read_idx(labels)),
      classes_(std::move(classes)) {
  if (images_.extents.size() < 3) {
    throw usage_error(
        "{}: has {} axes, and pictures need 3 (count, height, width) or 4; is it a "
        "file of labels?",
        images.string(), images_.extents.size());
  }
  if (labels_.extents.size() != 1) {
    throw usage_error("{}: has {} axes, and labels have 1; is it a file of pictures?",
                      labels.string(), labels_.extents.size());
  }
  if (images_.extents[0] != labels_.extents[0]) {
    throw usage_error("{}: holds {} pictures but {} holds {} labels; are they of the same set?",
                      images.string(), images_.extents[0], labels.string(), labels_.extents[0]);
  }
  const std::int64_t channels = images_.extents.size() == 4 ? images_.extents[3] : 1;
  if (channels != 1 && channels != 3) {
    throw usage_error("{}: its pictures have {} channels; 1 and 3 are read", images.string(),
                      channels);
  }
  if (size() == 0 || images_.bytes.empty()) {
    throw usage_error("{}: holds no pictures; download it again", images.string());
  }
  if (images_.extents[1] > INT16_MAX || images_.extents[2] > INT16_MAX) {
    throw usage_error("{}: its pictures are {} x {} pixels; sizes are up to {}", images.string(),
                      images_.extents[1], images_.extents[2], INT16_MAX);
  }
  height_ = static_cast<int>(images_.extents[1]);
  width_ = static_cast<int>(images_.extents[2]);
  channels_ = static_cast<int>(channels);
  const auto largest = std::max_element(labels_.bytes.begin(), labels_.bytes.end());
  if (classes_.empty()) {
    for (int label = 0; label <= *largest; ++label) classes_.push_back(std::to_string(label));
  }
  if (*largest >= classes_.size()) {
    throw usage_error(
        "{}: label {} at position {} is not below the number of classes, {}; the file "
        "is corrupt or of another set",
        labels.string(), *largest, largest - labels_.bytes.begin(), classes_.size());
  }
  contents_.resize(static_cast<std::size_t>(size()));
  parallel_for(size(), [&](std::int64_t index) {
    contents_[static_cast<std::size_t>(index)] = Dataset::content(index);
  });
}

std::string IdxDataset::name(std::int64_t index) const {
  return fmt::format("{}[{}]", file_name_, index);
}

ImageView IdxDataset::image(std::int64_t index) const {
  const std::size_t each = static_cast<std::size_t>(height_) * static_cast<std::size_t>(width_) *
                           static_cast<std::size_t>(channels_);
  return {height_, width_, channels_, images_.bytes.data() + static_cast<std::size_t>(index) * each,
          nullptr};
}

std::uint32_t IdxDataset::label_checksum() const {
  return static_cast<std::uint32_t>(
      crc32(0, labels_.bytes.data(), static_cast<uInt>(labels_.bytes.size())));
}

fs::path find_idx(const fs::path& folder, const std::string& split, const std::string& what) {
  const std::string kind = what == "images" ? "idx3" : "idx1";
  for (const char* separator : {"-", "."}) {
    for (const char* suffix : {"", ".gz"}) {
      fs::path path = folder / (split + "-" + what + separator + kind + "-ubyte" + suffix);
      std::error_code error;
      if (fs::exists(path, error)) return path;
    }
  }
  return {};
}

}  // namespace tapescope
