#include "tools/data/shard_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <memory>
#include <set>

#include "engine/error.h"
#include "engine/hash.h"
#include "tools/data/folder_scan.h"
#include "tools/data/image.h"
#include "tools/data/layout.h"
#include "tools/data/picture_files.h"
#include "tools/data/shards.h"
#include "tools/files/atomic_file.h"
#include "tools/files/folder_lock.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = 512;

std::int64_t in_blocks(std::size_t bytes) {
  return static_cast<std::int64_t>(kBlock + (bytes + kBlock - 1) / kBlock * kBlock);
}

// ---- tar

// A header of POSIX's ustar, with nothing in it that differs from machine to machine. libarchive's
// would change with its version, and the bytes are promised.
std::array<char, kBlock> tar_header(const std::string& name, std::size_t bytes) {
  constexpr std::size_t kName = 100, kPrefix = 345, kChecksum = 148;
  std::array<char, kBlock> header{};
  const auto put = [&](std::size_t at, std::string_view text) {
    std::memcpy(header.data() + at, text.data(), text.size());
  };
  if (name.size() <= kName) {
    put(0, name);
  } else {
    const std::size_t slash = name.rfind('/');
    put(kPrefix, std::string_view(name).substr(0, slash));
    put(0, std::string_view(name).substr(slash + 1));
  }
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, fmt::format("{:011o}", bytes));
  put(136, "00000000000");
  put(kChecksum, "        ");
  header[156] = '0';  // a regular file
  put(257, std::string_view("ustar\00000", 8));
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(kChecksum, fmt::format("{:06o}", sum));
  header[kChecksum + 6] = '\0';
  return header;
}

class ShardFile {
 public:
  explicit ShardFile(const fs::path& path) : file_(path) {}
  void add(const std::string& name, std::span<const std::uint8_t> content) {
    const std::array<char, kBlock> header = tar_header(name, content.size());
    file_.write(std::as_bytes(std::span(header)));
    file_.write(std::as_bytes(content));
    static constexpr std::array<char, kBlock> kZeros{};
    file_.write(
        std::as_bytes(std::span(kZeros)).first((kBlock - content.size() % kBlock) % kBlock));
    bytes_ += in_blocks(content.size());
  }
  void end() {
    static constexpr std::array<char, 2 * kBlock> kEnd{};
    file_.write(std::as_bytes(std::span(kEnd)));
    file_.commit();
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  AtomicFile file_;
  std::int64_t bytes_ = 0;
};

// ---- names

// `text` where it has at most `most` bytes, else its beginning and its hash.
std::string bounded(const std::string& text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t length = most - 17;
  while (length > 0 && (text[length] & 0xC0) == 0x80) --length;  // within a character
  return fmt::format("{}-{:016x}", text.substr(0, length), stable_hash(text));
}

// The key of a file in a class folder: "cat/7" of "cat/7.jpg", "cat/old/7_a" of "cat/old/7.a.jpg".
std::string key_of(const std::string& name) {
  const fs::path path(name);
  std::string stem = printable(path.stem().string());
  std::replace(stem.begin(), stem.end(), '.', '_');
  if (stem.starts_with("__")) stem.insert(0, "x");  // what WebDataset takes for a note
  constexpr std::size_t kLongestStem = 80, kLongestFolder = 150;  // of tar's 100 and 155
  const std::string folder = bounded(printable(path.parent_path().string()), kLongestFolder);
  return folder + "/" + bounded(stem, kLongestStem);
}

std::string extension_of(const std::string& file) {
  std::string extension = fs::path(file).extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

// ---- the shards of one split

class PartWriter {
 public:
  PartWriter(fs::path folder, std::int64_t most) : folder_(std::move(folder)), most_(most) {}
  void add(const std::string& file, const std::string& name, std::int64_t label) {
    constexpr std::size_t kMostBytes = INT32_MAX;
    const std::vector<std::uint8_t> bytes = read_bytes(file, kMostBytes);
    const std::string key = unused_stem(key_of(name), used_);
    const std::string text = std::to_string(label);
    const std::int64_t more = in_blocks(bytes.size()) + in_blocks(text.size());
    constexpr std::int64_t kEnd = 2 * kBlock;
    if (shard_ && shard_->bytes() + more + kEnd > most_) end();
    if (!shard_) shard_ = std::make_unique<ShardFile>(folder_ / fmt::format("{:06}.tar", shards_));
    shard_->add(key + extension_of(file), bytes);
    shard_->add(key + ".cls", {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    ++pictures_;
    bytes_ += more;
  }
  ShardedPart finish(const std::string& name) {
    if (shard_) end();
    return {name, pictures_, shards_, bytes_};
  }

 private:
  void end() {
    shard_->end();
    shard_.reset();
    ++shards_;
  }
  fs::path folder_;
  std::int64_t most_, pictures_ = 0, shards_ = 0, bytes_ = 0;
  std::unique_ptr<ShardFile> shard_;
  std::set<std::string> used_;
};

struct SourcePart {
  std::string name;  // the folder in `out`
  fs::path folder;
  FolderScan scan;
};

std::vector<SourcePart> sources(const ShardRequest& request, ShardedData& data) {
  if (!is_folder(request.data)) {
    throw usage_error("{}: no such folder; check the path given as --data",
                      printable(request.data.string()));
  }
  if (find_shards(request.data)) {
    throw usage_error("{}: holds shards already; name the folder of class folders",
                      printable(request.data.string()));
  }
  const FolderLayout layout = find_layout(request.data);
  data.notices = layout.notices;
  std::vector<SourcePart> parts;
  for (const auto& [name, folder] :
       {std::pair("train", layout.train), {"val", layout.validation}, {"test", layout.test}}) {
    if (!folder.empty()) parts.push_back({name, folder, scan_classes(folder)});
  }
  if (layout.flat()) parts.push_back({"", request.data, scan_classes(request.data)});
  for (const SourcePart& part : parts) {
    if (part.scan.classes.empty()) {
      throw usage_error(
          "{}: holds no class folders; put the pictures of each class in a folder named after it",
          printable(part.folder.string()));
    }
    for (std::string& sentence : part.scan.notices(part.folder)) {
      data.notices.push_back(printable(sentence));
    }
  }
  data.classes = parts[0].scan.classes;
  for (const SourcePart& part : parts) {
    for (const std::string& name : part.scan.classes) {
      if (std::find(data.classes.begin(), data.classes.end(), name) != data.classes.end()) continue;
      throw usage_error(
          "{}: the class folder {} is not among the classes of {} ({}); rename or "
          "remove it",
          printable(part.folder.string()), name, parts[0].name, listed(data.classes));
    }
  }
  return parts;
}

void write_parts(const std::vector<SourcePart>& parts, const fs::path& to,
                 const ShardRequest& request,
                 const std::function<void(std::int64_t, std::int64_t)>& told, ShardedData& data) {
  std::int64_t all = 0, done = 0;
  for (const SourcePart& part : parts) {
    for (const auto& files : part.scan.files) all += std::ssize(files);
  }
  for (const SourcePart& part : parts) {
    make_output_folder(to / part.name);
    PartWriter writer(to / part.name, request.shard_bytes);
    for (std::size_t c = 0; c < part.scan.classes.size(); ++c) {
      const auto label = std::find(data.classes.begin(), data.classes.end(), part.scan.classes[c]) -
                         data.classes.begin();
      for (const std::string& file : part.scan.files[c]) {
        writer.add(file, name_beneath(file, part.folder.string()), label);
        if (told) told(++done, all);
      }
    }
    data.parts.push_back(writer.finish(part.name));
  }
  write_atomically(to / "classnames.txt", fmt::format("{}\n", fmt::join(data.classes, "\n")));
}

}  // namespace

ShardedData write_shards(const ShardRequest& request,
                         const std::function<void(std::int64_t, std::int64_t)>& told) {
  fs::path out = (request.out / "").parent_path();  // without a slash at its end
  std::error_code error;
  if (fs::exists(out, error) && !(is_folder(out) && fs::is_empty(out, error))) {
    throw usage_error("--out '{}' is there and not empty; choose a new folder",
                      printable(request.out.string()));
  }
  if (fs::is_symlink(out, error)) out = fs::canonical(out, error);
  ShardedData data;
  const std::vector<SourcePart> parts = sources(request, data);
  make_output_folder(out.has_parent_path() ? out.parent_path() : fs::path("."));
  const fs::path partial = out.parent_path() / ("." + out.filename().string() + ".partial");
  {
    const FolderLock lock(partial);
    for (const fs::directory_entry& entry : fs::directory_iterator(partial)) {
      if (entry.path().filename() != ".lock") fs::remove_all(entry.path(), error);  // of a kill
    }
    try {
      write_parts(parts, partial, request, told, data);
    } catch (...) {
      fs::remove_all(partial, error);
      throw;
    }
    fs::remove(partial / ".lock", error);
    fs::rename(partial, out, error);
  }
  if (!error) return data;
  throw usage_error("--out '{}' cannot be made of '{}', which holds the shards ({}); rename it",
                    printable(request.out.string()), printable(partial.string()), error.message());
}

}  // namespace tapescope
