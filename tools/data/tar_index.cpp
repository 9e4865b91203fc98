#include "tools/data/tar_index.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include "engine/error.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

constexpr std::int64_t kTarBlock = 512;

struct CloseTar {
  void operator()(archive* tar) const { archive_read_free(tar); }
};

std::string said_by(archive* tar) {
  const char* text = archive_error_string(tar);
  return printable(text != nullptr ? text : "no reason given");
}

std::string read_text_of(archive* tar, std::int64_t bytes) {
  std::string text(static_cast<std::size_t>(bytes), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const la_ssize_t n = archive_read_data(tar, text.data() + done, text.size() - done);
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  text.resize(done);
  return text;
}

// Whether a block of zeros lies at `end`, as at the end of every tar file.
bool has_end_mark(const std::filesystem::path& path, std::int64_t end) {
  std::ifstream file(path, std::ios::binary);
  std::string block(kTarBlock, '\1');
  file.seekg(end);
  file.read(block.data(), kTarBlock);
  return file.gcount() == kTarBlock && block.find_first_not_of('\0') == std::string::npos;
}

// Why an entry of a file of `size` bytes, and what is behind it, cannot be read; else empty.
std::string flaw_of(archive_entry* entry, const TarMember& member, std::int64_t size) {
  if (archive_entry_sparse_count(entry) > 0) {
    return fmt::format("stores '{}' with holes; make it again without tar's --sparse",
                       printable(member.name));
  }
  if (member.bytes < 0 || member.bytes > size - member.offset) {
    return fmt::format("is cut off within '{}'; copy it again", printable(member.name));
  }
  return "";
}

}  // namespace

TarIndex read_tar(const std::filesystem::path& path,
                  const std::function<bool(std::string_view name)>& wanted) {
  const std::string shown = printable(path.string());
  std::error_code error;
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path, error));
  const std::unique_ptr<archive, CloseTar> tar(archive_read_new());
  archive_read_support_format_tar(tar.get());
  constexpr std::size_t kRead = 1 << 16;
  if (error || ::access(path.c_str(), R_OK) != 0) {
    throw usage_error("{}: cannot be read ({}); check the path and its permissions", shown,
                      error ? error.message() : std::strerror(errno));
  }
  TarIndex index;
  if (archive_read_open_filename(tar.get(), path.c_str(), kRead) != ARCHIVE_OK) {
    index.broken = size == 0 ? "is empty (0 bytes); copy it again"
                             : fmt::format("is no tar file ({})", said_by(tar.get()));
    return index;
  }
  std::int64_t end = 0;  // of the last entry, with what fills its block
  std::string last;
  archive_entry* entry = nullptr;
  for (;;) {
    const int status = archive_read_next_header(tar.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) {
      index.broken =
          fmt::format("is damaged, cut off or no tar file ({}); copy it again", said_by(tar.get()));
      return index;
    }
    // libarchive has read the headers, long names among them, and nothing behind them.
    TarMember member;
    member.offset = archive_filter_bytes(tar.get(), 0);
    member.bytes = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
    const char* name = archive_entry_pathname(entry);
    member.name = name != nullptr ? name : "";
    if (archive_entry_hardlink(entry) != nullptr) member.bytes = 0;
    index.broken = flaw_of(entry, member, size);
    if (!index.broken.empty()) return index;
    end = member.offset + (member.bytes + kTarBlock - 1) / kTarBlock * kTarBlock;
    last = member.name;
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != nullptr) {
      continue;
    }
    if (member.bytes <= kMostTarText && wanted(member.name)) {
      member.text = read_text_of(tar.get(), member.bytes);
    }
    index.members.push_back(std::move(member));
  }
  if (!has_end_mark(path, end)) {
    index.broken = last.empty() ? "is empty"
                                : fmt::format(
                                      "is cut off behind '{}': its end is not there; copy "
                                      "it again",
                                      printable(last));
  }
  return index;
}

void unpack(const std::filesystem::path& packed,
            const std::function<void(std::span<const std::byte>)>& take) {
  const std::unique_ptr<archive, CloseTar> tar(archive_read_new());
  archive_read_support_filter_gzip(tar.get());
  archive_read_support_filter_zstd(tar.get());
  archive_read_support_format_raw(tar.get());
  constexpr std::size_t kRead = 1 << 16;
  archive_entry* entry = nullptr;
  const auto expect = [&](bool fine) {
    if (fine) return;
    throw usage_error("{}: cannot be unpacked ({}); copy it again", printable(packed.string()),
                      said_by(tar.get()));
  };
  expect(archive_read_open_filename(tar.get(), packed.c_str(), kRead) == ARCHIVE_OK &&
         archive_read_next_header(tar.get(), &entry) == ARCHIVE_OK);
  const void* piece = nullptr;
  std::size_t bytes = 0;
  la_int64_t offset = 0;
  int status = ARCHIVE_OK;
  while ((status = archive_read_data_block(tar.get(), &piece, &bytes, &offset)) == ARCHIVE_OK) {
    take({static_cast<const std::byte*>(piece), bytes});
  }
  expect(status == ARCHIVE_EOF);
}

std::string tar_library() { return archive_version_string(); }

}  // namespace tapescope
