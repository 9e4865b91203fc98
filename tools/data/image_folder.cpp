#include "tools/data/image_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <exception>
#include <fstream>
#include <mutex>
#include <unordered_map>

#include "engine/remedy.h"
#include "engine/thread_pool.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

void collect(const fs::path& folder, FolderScan& scan, std::vector<std::string>& files, int depth) {
  if (depth > 64) {
    throw usage_error("{}: folders are nested more than 64 deep; check for a link to a parent",
                      folder.string());
  }
  for (const fs::directory_entry& entry : listing_of(folder)) {
    std::error_code error;
    const fs::file_type type = entry.status(error).type();
    if (type == fs::file_type::directory) {
      expect_no_ring(entry.path());
      collect(entry.path(), scan, files, depth + 1);
    } else if (!has_image_extension(entry.path())) {
      ++scan.other_files;
      if (scan.other_examples.size() < 3) scan.other_examples.push_back(entry.path().string());
    } else if (type == fs::file_type::fifo || type == fs::file_type::socket ||
               type == fs::file_type::character || type == fs::file_type::block) {
      // Opening one may wait for ever, and reading it may never end.
      if (scan.no_files++ == 0) scan.no_file_example = entry.path().string();
    } else {  // a link to nothing as well: that a picture is missing is seen when it is read
      scan.links += entry.is_symlink(error) ? 1 : 0;
      files.push_back(entry.path().string());
    }
  }
}

// Size and time of the file's last change.
PictureContent stamp_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {0, status.st_size,
          std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

}  // namespace

ImageFiles::ImageFiles(std::vector<ImageFile> files, std::vector<std::string> classes, int channels,
                       std::shared_ptr<PictureRoom> room, Exif exif, bool decoded)
    : files_(std::move(files)),
      classes_(std::move(classes)),
      channels_(channels),
      room_(std::move(room)),
      exif_(exif),
      unread_(files_.size()) {
  if (decoded) cache_.emplace(size(), room_);
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].bytes.empty()) continue;
    unread_[i] = new std::vector<std::uint8_t>(std::move(files_[i].bytes));
  }
}

ImageFiles::~ImageFiles() {
  for (auto& slot : unread_) {
    const std::unique_ptr<const std::vector<std::uint8_t>> bytes(slot.load());
    if (bytes) room_->give_back(static_cast<std::int64_t>(bytes->size()));
  }
}

Image ImageFiles::decoded(std::int64_t index) const {
  const std::unique_ptr<const std::vector<std::uint8_t>> bytes(
      unread_[static_cast<std::size_t>(index)].exchange(nullptr));
  if (!bytes) return read_image(file(index).path, channels_, exif_);
  room_->give_back(static_cast<std::int64_t>(bytes->size()));
  return decode_image(*bytes, file(index).path, channels_, exif_);
}

ImageView ImageFiles::image(std::int64_t index) const {
  if (cache_) return cache_->at(index, [&] { return decoded(index); });
  auto owner = std::make_shared<const Image>(decoded(index));
  ImageView view = view_of(*owner);
  view.owner = std::move(owner);
  return view;
}

ImageSize ImageFiles::image_size(std::int64_t index) const {
  const ImageSize known = file(index).size;
  return known.height > 0 ? known : read_image_size(file(index).path, exif_);
}

FolderScan scan_classes(const fs::path& folder) {
  FolderScan scan;
  for (const fs::directory_entry& entry : listing_of(folder)) {
    std::error_code error;
    if (!entry.is_directory(error)) {
      scan.loose_images += has_image_extension(entry.path()) ? 1 : 0;
      continue;
    }
    scan.classes.push_back(printable(entry.path().filename().string()));
    scan.files.emplace_back();
    collect(entry.path(), scan, scan.files.back(), 0);
  }
  return scan;
}

std::vector<BadFile> check_files(std::vector<ImageFile>& files, BadImage on_bad_image,
                                 OddPictures& odd, PictureRoom* room) {
  const auto count = static_cast<std::int64_t>(files.size());
  std::mutex mutex;
  std::vector<BadFile> bad;
  parallel_for(count, [&](std::int64_t chunk) {
    const auto index = static_cast<std::size_t>(chunk);
    try {
      ImageFile& file = files[index];
      file.content = stamp_of(file.path);
      std::vector<std::uint8_t> bytes = read_bytes(file.path);
      file.content.bytes = static_cast<std::int64_t>(bytes.size());
      file.content.hash = content_hash(bytes, file.content.bytes);
      file.size = image_size_in(bytes, odd.exif);
      if (on_bad_image == BadImage::skip || OddPictures::has_16_bits(bytes)) {
        odd.look_at(bytes, decode_image(bytes, file.path), file.path);
      } else {
        check_image(bytes, file.path);
        odd.look_at_head(bytes, file.path);
      }
      if (room != nullptr && room->take(file.content.bytes, room->bytes() / 4 * 3)) {
        file.bytes = std::move(bytes);
      }
    } catch (const Error& error) {
      const std::lock_guard lock(mutex);
      bad.push_back({index, error.what()});
    }
  });
  std::sort(bad.begin(), bad.end(),
            [](const BadFile& a, const BadFile& b) { return a.index < b.index; });
  if (!bad.empty() && on_bad_image == BadImage::fail) {
    const std::string how_many =
        bad.size() == 1 ? "" : fmt::format("; {} of {} pictures cannot be read", bad.size(), count);
    throw ErrorWithRemedy(Remedy::leave_out, usage_error("{}{}", bad.front().what, how_many));
  }
  return bad;
}

void look_at_heads(std::vector<ImageFile>& files, const std::string& root, const SplitRecord* known,
                   OddPictures& odd) {
  std::unordered_map<std::string_view, const RecordedPicture*> by_name;
  if (known != nullptr) {
    for (const RecordedPicture& p : known->pictures) by_name.emplace(p.name, &p);
  }
  parallel_for(static_cast<std::int64_t>(files.size()), [&](std::int64_t chunk) {
    ImageFile& file = files[static_cast<std::size_t>(chunk)];
    file.content = stamp_of(file.path);
    const auto found = by_name.find(name_beneath(file.path, root));
    if (found != by_name.end() && found->second->content.bytes == file.content.bytes &&
        found->second->content.time == file.content.time) {
      file.content.hash = found->second->content.hash;
      return;
    }
    std::vector<std::uint8_t> head(kHeadBytes);
    std::ifstream stream(file.path, std::ios::binary);
    stream.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
    head.resize(static_cast<std::size_t>(stream.gcount()));
    file.content.hash = content_hash(head, file.content.bytes);
    file.size = image_size_in(head, odd.exif);
    odd.look_at_head(head, file.path);
  });
}

std::string name_beneath(const std::string& path, const std::string& root) {
  if (!path.starts_with(root)) return path;
  const std::size_t begin = path.find_first_not_of('/', root.size());
  return begin == std::string::npos ? path : path.substr(begin);
}

}  // namespace tapescope
