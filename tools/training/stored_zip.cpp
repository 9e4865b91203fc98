#include "tools/training/stored_zip.h"

#include <archive.h>
#include <archive_entry.h>

#include <string_view>
#include <unordered_set>

#include "engine/error.h"
#include "tools/files/text.h"

namespace tapescope {

// Stands behind the header of part `index`.
struct StoredZip::Cursor {
  archive* zip = archive_read_new();
  archive_entry* entry = nullptr;
  std::ptrdiff_t index = -1;
  ~Cursor() { archive_read_free(zip); }
};

namespace {

// What went wrong, as libarchive says it.
std::string reason_of(archive* zip) {
  const char* text = archive_error_string(zip);
  return printable(text != nullptr ? text : "no reason given");
}

bool leads_out(std::string_view name) {
  if (name.starts_with('/') || name.find('\\') != std::string_view::npos) return true;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('/', at), name.size());
    if (name.substr(at, end - at) == "..") return true;
    at = end + 1;
  }
  return false;
}

}  // namespace

StoredZip::StoredZip(const std::filesystem::path& file)
    : file_(file), shown_(printable(file.string())) {
  const std::uint64_t most = std::filesystem::file_size(file);
  std::uint64_t bytes = 0;
  std::unordered_set<std::string> names;
  start();
  while (next()) {
    if (parts_.size() == kMostParts) {
      throw usage_error("{}: is a zip archive of more than {} parts; no model has so many", shown_,
                        kMostParts);
    }
    const char* name = archive_entry_pathname(cursor_->entry);
    Part part{name != nullptr ? name : "",
              static_cast<std::uint64_t>(archive_entry_size(cursor_->entry))};
    const std::string shown = printable(part.name.substr(0, 100));
    if (archive_entry_is_encrypted(cursor_->entry) != 0) {
      throw usage_error("{}: its part '{}' is encrypted; torch.save writes plain files", shown_,
                        shown);
    }
    if (leads_out(part.name)) {
      throw usage_error(
          "{}: its part '{}' has a name that leads out of the archive; torch.save "
          "writes none such",
          shown_, shown);
    }
    if (!names.insert(part.name).second) {
      throw usage_error("{}: has two parts '{}'; the file is damaged", shown_, shown);
    }
    const std::string_view format = archive_format_name(cursor_->zip);
    if (format.find("(uncompressed)") == std::string_view::npos) {
      part.packed = printable(format);
    } else if (part.bytes > most - bytes) {
      throw usage_error(
          "{}: its parts claim more bytes than the {} that the file has ('{}' alone {}); the file "
          "is damaged or cut short, copy it again",
          shown_, most, shown, part.bytes);
    } else {
      bytes += part.bytes;
    }
    parts_.push_back(std::move(part));
  }
}

StoredZip::~StoredZip() = default;

void StoredZip::start() {
  cursor_ = std::make_unique<Cursor>();
  archive_read_support_format_zip_seekable(cursor_->zip);
  constexpr std::size_t kBlock = 1 << 16;
  if (archive_read_open_filename(cursor_->zip, file_.c_str(), kBlock) != ARCHIVE_OK) {
    throw usage_error(
        "{}: cannot be read as a zip archive ({}); it is cut short or damaged, copy "
        "it again",
        shown_, reason_of(cursor_->zip));
  }
}

bool StoredZip::next() {
  const int status = archive_read_next_header(cursor_->zip, &cursor_->entry);
  if (status == ARCHIVE_EOF) return false;
  if (status < ARCHIVE_WARN) {
    throw usage_error("{}: is a damaged zip archive ({}); copy it again", shown_,
                      reason_of(cursor_->zip));
  }
  ++cursor_->index;
  return true;
}

void StoredZip::expect_stored(std::size_t index) const {
  const Part& part = parts_[index];
  if (part.packed.empty()) return;
  throw usage_error(
      "{}: its part '{}' is compressed ({}), which torch.save never does; if you packed the file, "
      "unpack it first, otherwise save it again with torch.save",
      shown_, printable(part.name.substr(0, 100)), part.packed);
}

void StoredZip::read(std::size_t index, std::span<std::byte> to) {
  expect_stored(index);
  const auto wanted = static_cast<std::ptrdiff_t>(index);
  if (cursor_->index >= wanted) start();
  while (cursor_->index < wanted && next()) {
  }
  std::size_t done = 0;
  while (done < to.size()) {
    const la_ssize_t got = archive_read_data(cursor_->zip, to.data() + done, to.size() - done);
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  // The checksum is compared at the end.
  std::byte beyond;
  if (done < to.size() || archive_read_data(cursor_->zip, &beyond, 1) != 0) {
    throw usage_error(
        "{}: its part '{}' cannot be read whole ({}); the file is damaged, copy it "
        "again",
        shown_, printable(parts_[index].name.substr(0, 100)), reason_of(cursor_->zip));
  }
}

std::string zip_library() { return std::string(archive_version_string()); }

}  // namespace tapescope
