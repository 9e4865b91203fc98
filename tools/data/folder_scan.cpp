#include "tools/data/folder_scan.h"

#include <fmt/ranges.h>

#include <optional>

#include "engine/error.h"
#include "tools/data/image.h"
#include "tools/data/layout.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"
#include "tools/files/user_cache.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

constexpr const char* kScanKind = "folder";

void collect(const fs::path& folder, FolderScan& scan, std::vector<std::string>& files, int depth) {
  if (depth > 64) {
    throw usage_error("{}: folders are nested more than 64 deep; check for a link to a parent",
                      folder.string());
  }
  scan.folders.emplace_back(folder.string(), stamp_of(folder));  // before: it may change meanwhile
  for (const fs::directory_entry& entry : listing_of(folder)) {
    std::error_code error;
    const fs::file_type type = entry.status(error).type();
    if (type == fs::file_type::directory) {
      expect_no_ring(entry.path());
      collect(entry.path(), scan, files, depth + 1);
    } else if (!has_image_extension(entry.path())) {
      ++scan.other_files;
      if (scan.other_examples.size() < 3) scan.other_examples.push_back(entry.path().string());
      if (entry.is_symlink(error)) scan.lasting = false;
    } else if (type == fs::file_type::fifo || type == fs::file_type::socket ||
               type == fs::file_type::character || type == fs::file_type::block) {
      // Opening one may wait for ever, and reading it may never end.
      if (scan.no_files++ == 0) scan.no_file_example = entry.path().string();
      if (entry.is_symlink(error)) scan.lasting = false;
    } else {  // a link to nothing as well: that a picture is missing is seen when it is read
      scan.links += entry.is_symlink(error) ? 1 : 0;
      files.push_back(entry.path().string());
    }
  }
}

FolderScan scanned(const fs::path& folder) {
  FolderScan scan;
  scan.folders.emplace_back(folder.string(), stamp_of(folder));
  for (const fs::directory_entry& entry : listing_of(folder)) {
    std::error_code error;
    if (!entry.is_directory(error)) {
      scan.loose_images += has_image_extension(entry.path()) ? 1 : 0;
      if (entry.is_symlink(error)) scan.lasting = false;
      continue;
    }
    scan.classes.push_back(printable(entry.path().filename().string()));
    scan.files.emplace_back();
    collect(entry.path(), scan, scan.files.back(), 0);
  }
  return scan;
}

// ---- scans that are kept: names beneath the folder, whatever it is called next time

class Names {
 public:
  explicit Names(const fs::path& folder) : root_(folder.string()), base_((folder / "").string()) {}
  std::string beneath(const std::string& path) const {
    return path == root_ ? "" : name_beneath(path, root_);
  }
  std::string whole(std::string_view name) const {
    return name.empty() ? root_ : base_ + std::string(name);
  }

 private:
  std::string root_, base_;
};

std::string packed(const FolderScan& scan, const Names& names) {
  Packer to;
  to.number(static_cast<std::int64_t>(scan.folders.size()));
  for (const auto& [path, stamp] : scan.folders) {
    to.text(names.beneath(path));
    stamp.pack(to);
  }
  for (const std::int64_t value : {scan.other_files, scan.loose_images, scan.no_files, scan.links,
                                   static_cast<std::int64_t>(scan.other_examples.size())}) {
    to.number(value);
  }
  for (const std::string& example : scan.other_examples) to.text(names.beneath(example));
  to.text(scan.no_files > 0 ? names.beneath(scan.no_file_example) : "");
  to.number(static_cast<std::int64_t>(scan.classes.size()));
  for (std::size_t c = 0; c < scan.classes.size(); ++c) {
    to.text(scan.classes[c]);
    to.number(static_cast<std::int64_t>(scan.files[c].size()));
    for (const std::string& file : scan.files[c]) to.text(names.beneath(file));
  }
  return to.bytes();
}

// Nothing where a folder is not as it was.
std::optional<FolderScan> unpacked(std::string_view bytes, const Names& names) {
  Unpacker from(bytes);
  FolderScan scan;
  for (std::size_t left = from.count(8); left > 0; --left) {
    std::string path = names.whole(from.text());
    const FileStamp stamp = FileStamp::unpack(from);
    if (!from.ok() || stamp_of(path) != stamp) return {};
    scan.folders.emplace_back(std::move(path), stamp);
  }
  for (std::int64_t* value : {&scan.other_files, &scan.loose_images, &scan.no_files, &scan.links}) {
    *value = from.number();
  }
  for (std::size_t left = from.count(8); left > 0; --left) {
    scan.other_examples.push_back(names.whole(from.text()));
  }
  scan.no_file_example = names.whole(from.text());
  for (std::size_t left = from.count(16); left > 0; --left) {
    scan.classes.emplace_back(from.text());
    std::vector<std::string>& files = scan.files.emplace_back(from.count(8));
    for (std::string& file : files) file = names.whole(from.text());
  }
  if (!from.at_end() || scan.folders.empty()) return {};
  return scan;
}

bool is_worth_keeping(const FolderScan& scan, std::int64_t keep_from, std::int64_t clock) {
  std::int64_t pictures = 0;
  for (const auto& files : scan.files) pictures += static_cast<std::int64_t>(files.size());
  bool settled = scan.lasting && pictures >= keep_from;
  for (const auto& [path, stamp] : scan.folders) {
    settled = settled && stamp.settled(clock) && shows_changes(path);
  }
  return settled;
}

}  // namespace

FolderScan scan_classes(const fs::path& folder, std::int64_t keep_from) {
  std::error_code error;
  const std::string key = fs::canonical(folder, error).string();
  const Names names(folder);
  if (!error) {
    if (const std::optional<std::string> bytes = cached(kScanKind, key)) {
      if (std::optional<FolderScan> scan = unpacked(*bytes, names)) return std::move(*scan);
    }
  }
  const std::int64_t clock = clock_now();
  FolderScan scan = scanned(folder);
  if (!error && is_worth_keeping(scan, keep_from, clock)) {
    keep_cached(kScanKind, key, packed(scan, names));
  }
  return scan;
}

std::vector<std::string> FolderScan::notices(const fs::path& folder) const {
  std::vector<std::string> all;
  if (no_files > 0) {
    all.push_back(
        fmt::format("{}: {} pipes or devices named like pictures are passed over, the first: {}",
                    folder.string(), no_files, no_file_example));
  }
  if (links > 0) {
    all.push_back(
        fmt::format("{}: {} pictures are links and were followed", folder.string(), links));
  }
  if (loose_images > 0) {
    all.push_back(fmt::format("{}: {} pictures beside the class folders are ignored",
                              folder.string(), loose_images));
  }
  if (other_files > 0) {
    all.push_back(fmt::format("{}: {} files are not pictures and are skipped: {}{}",
                              folder.string(), other_files, fmt::join(other_examples, ", "),
                              other_files > 3 ? ", ..." : ""));
  }
  return all;
}

std::string_view view_beneath(std::string_view path, std::string_view root) {
  if (!path.starts_with(root)) return path;
  const std::size_t begin = path.find_first_not_of('/', root.size());
  return begin == std::string_view::npos ? path : path.substr(begin);
}

std::string name_beneath(const std::string& path, const std::string& root) {
  return std::string(view_beneath(path, root));
}

}  // namespace tapescope
