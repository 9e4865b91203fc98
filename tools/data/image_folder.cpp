#include "tools/data/image_folder.h"

#include <algorithm>
#include <exception>
#include <fstream>
#include <mutex>
#include <unordered_map>

#include "engine/remedy.h"
#include "engine/thread_pool.h"
#include "tools/data/known_pictures.h"

namespace tapescope {

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
  if (!bytes) return decode_image(file(index).read(), file(index).path, channels_, exif_);
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
  if (known.height > 0) return known;
  if (file(index).shard == 0) return read_image_size(file(index).path, exif_);
  const std::vector<std::uint8_t> bytes = file(index).read();
  check_image(bytes, file(index).path);
  return image_size_in(bytes, exif_);
}

std::vector<std::uint8_t> ImageFile::read() const {
  constexpr std::size_t kMost = INT32_MAX;  // what every decoder can count
  if (shard == 0) return read_bytes(path, kMost);
  if (static_cast<std::size_t>(length) > kMost) {
    throw usage_error("{}: is {} bytes long, and pictures of up to {} are read; make it smaller",
                      path, length, kMost);
  }
  return read_part(plain ? *plain : path.substr(0, shard), offset, length, stamp);
}

std::vector<std::uint8_t> ImageFile::read_head(std::size_t most) const {
  if (shard != 0) {
    const auto count = std::min<std::int64_t>(length, static_cast<std::int64_t>(most));
    return read_part(plain ? *plain : path.substr(0, shard), offset, count, stamp);
  }
  std::vector<std::uint8_t> head(most);
  std::ifstream stream(path, std::ios::binary);
  stream.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(most));
  head.resize(static_cast<std::size_t>(stream.gcount()));
  return head;
}

void set_stamps(std::span<ImageFile> files) {
  constexpr std::int64_t kGrain = 256;
  parallel_ranges(static_cast<std::int64_t>(files.size()), kGrain,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i) {
                      ImageFile& file = files[static_cast<std::size_t>(i)];
                      if (file.stamp.bytes < 0) file.stamp = stamp_of(file.path);
                      if (file.stamp.bytes < 0) continue;
                      file.content.bytes = file.shard == 0 ? file.stamp.bytes : file.length;
                      if (file.content.time == 0) file.content.time = file.stamp.time;
                    }
                  });
}

std::vector<BadFile> check_files(std::vector<ImageFile>& files, BadImage on_bad_image,
                                 OddPictures& odd, PictureRoom* room, const KnownPictures* known,
                                 std::size_t position) {
  set_stamps(files);
  const auto count = static_cast<std::int64_t>(files.size());
  std::mutex mutex;
  std::vector<BadFile> bad;
  parallel_for(count, [&](std::int64_t chunk) {
    const auto index = static_cast<std::size_t>(chunk);
    try {
      ImageFile& file = files[index];
      if (known != nullptr && known->fill_in(file, position + index)) {
        odd.count(file.turned, file.path);
        return;
      }
      std::vector<std::uint8_t> bytes = file.read();
      file.content.bytes = static_cast<std::int64_t>(bytes.size());
      file.content.hash = content_hash(bytes, file.content.bytes);
      file.size = image_size_in(bytes, odd.exif);
      const bool dark = OddPictures::has_16_bits(bytes);  // perhaps
      if (on_bad_image == BadImage::skip || dark) {
        odd.look_at(bytes, decode_image(bytes, file.path), file.path);
      } else {
        check_image(bytes, file.path);
        odd.look_at_head(bytes, file.path);
      }
      file.turned = image_orientation(bytes) != 1;
      if (!dark) file.facts = ImageFile::Facts::lasting;
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

void look_at_heads(std::vector<ImageFile>& files, const std::string& root,
                   const SplitRecord* record, OddPictures& odd, const KnownPictures* known,
                   std::size_t position) {
  set_stamps(files);
  std::unordered_map<std::string_view, const RecordedPicture*> by_name;
  if (record != nullptr) {
    for (const RecordedPicture& p : record->pictures) by_name.emplace(p.name, &p);
  }
  parallel_for(static_cast<std::int64_t>(files.size()), [&](std::int64_t chunk) {
    const auto index = static_cast<std::size_t>(chunk);
    ImageFile& file = files[index];
    if (known != nullptr && known->fill_in(file, position + index)) {
      odd.count(file.turned, file.path);
      return;
    }
    const auto found = by_name.find(name_beneath(file.path, root));
    if (found != by_name.end() && found->second->content.bytes == file.content.bytes &&
        found->second->content.time == file.content.time) {
      file.content.hash = found->second->content.hash;
      return;
    }
    const std::vector<std::uint8_t> head = file.read_head(kHeadBytes);
    file.content.hash = content_hash(head, file.content.bytes);
    file.size = image_size_in(head, odd.exif);
    file.turned = image_orientation(head) != 1;
    if (!head.empty()) file.facts = ImageFile::Facts::lasting;
    odd.count(file.turned, file.path);
  });
}

}  // namespace tapescope
