#include "tools/data/image_folder.h"

#include <algorithm>
#include <exception>
#include <mutex>

#include "engine/error.h"
#include "engine/thread_pool.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

bool hidden(const fs::path& path) { return path.filename().string().starts_with("."); }

std::vector<fs::directory_entry> entries(const fs::path& folder) {
  std::vector<fs::directory_entry> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!hidden(it->path())) found.push_back(*it);
  }
  if (error) {
    throw usage_error("{}: the folder cannot be read ({}); check its permissions", folder.string(),
                      error.message());
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.path().native() < b.path().native(); });
  return found;
}

void collect(const fs::path& folder, FolderScan& scan, std::vector<std::string>& files, int depth) {
  if (depth > 64) {
    throw usage_error("{}: folders are nested more than 64 deep; check for a link to a parent",
                      folder.string());
  }
  for (const fs::directory_entry& entry : entries(folder)) {
    if (entry.is_directory()) {
      collect(entry.path(), scan, files, depth + 1);
    } else if (has_image_extension(entry.path())) {
      files.push_back(entry.path().string());
    } else {
      ++scan.other_files;
      if (scan.other_examples.size() < 3) scan.other_examples.push_back(entry.path().string());
    }
  }
}

}  // namespace

ImageFiles::ImageFiles(std::vector<ImageFile> files, std::vector<std::string> classes, int channels,
                       std::shared_ptr<CacheBudget> budget, Exif exif)
    : files_(std::move(files)),
      classes_(std::move(classes)),
      channels_(channels),
      budget_(std::move(budget)),
      exif_(exif),
      cache_(files_.size()) {}

ImageFiles::~ImageFiles() {
  for (auto& slot : cache_) delete slot.load();
}

ImageView ImageFiles::image(std::int64_t index) const {
  std::atomic<const Image*>& slot = cache_[static_cast<std::size_t>(index)];
  if (const Image* cached = slot.load(std::memory_order_acquire)) return view_of(*cached);
  auto decoded = std::make_unique<const Image>(read_image(file(index).path, channels_, exif_));
  const auto bytes = static_cast<std::int64_t>(decoded->pixels.size());
  if (budget_->left.fetch_sub(bytes) >= bytes) {
    const Image* expected = nullptr;
    if (slot.compare_exchange_strong(expected, decoded.get(), std::memory_order_acq_rel)) {
      return view_of(*decoded.release());
    }
    budget_->left.fetch_add(bytes);  // another thread was first
    return view_of(*expected);
  }
  budget_->left.fetch_add(bytes);
  std::shared_ptr<const Image> owner = std::move(decoded);
  ImageView view = view_of(*owner);
  view.owner = std::move(owner);
  return view;
}

FolderScan scan_classes(const fs::path& folder) {
  FolderScan scan;
  for (const fs::directory_entry& entry : entries(folder)) {
    if (!entry.is_directory()) {
      scan.loose_images += has_image_extension(entry.path()) ? 1 : 0;
      continue;
    }
    scan.classes.push_back(entry.path().filename().string());
    scan.files.emplace_back();
    collect(entry.path(), scan, scan.files.back(), 0);
  }
  return scan;
}

void TurnedPictures::add(const std::string& name) {
  if (count++ == 0 || name < first) first = name;
}

std::string TurnedPictures::sentence(Exif exif) const {
  if (count == 0) return "";
  return fmt::format("{} pictures have an EXIF orientation, which is {} (the first: {})", count,
                     exif == Exif::apply ? "applied" : "not applied", printable(first));
}

std::vector<BadFile> check_files(const std::vector<ImageFile>& files, BadImage on_bad_image,
                                 TurnedPictures* turned) {
  const auto count = static_cast<std::int64_t>(files.size());
  std::mutex mutex;
  std::vector<BadFile> bad;
  parallel_for(count, [&](std::int64_t chunk) {
    const auto index = static_cast<std::size_t>(chunk);
    try {
      const std::string& path = files[index].path;
      const std::vector<std::uint8_t> bytes = read_bytes(path);
      if (on_bad_image == BadImage::skip) {
        decode_image(bytes, path);
      } else {
        check_image(bytes, path);
      }
      if (turned != nullptr && image_orientation(bytes) != 1) {
        const std::lock_guard lock(mutex);
        turned->add(path);
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
        bad.size() == 1 ? ""
                        : fmt::format(" ({} of {} pictures cannot be read)", bad.size(), count);
    throw usage_error("{}, or pass --on-bad-image skip{}", bad.front().what, how_many);
  }
  return bad;
}

}  // namespace tapescope
