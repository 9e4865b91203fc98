#include "tools/data/picture_files.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "engine/error.h"
#include "tools/data/image_format.h"
#include "tools/data/odd_pictures.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kTold = 10;

bool hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

std::vector<std::string> pictures_below(const std::string& folder) {
  std::vector<std::string> files, others;
  std::error_code error;
  const auto follow = fs::directory_options::follow_directory_symlink;
  for (fs::recursive_directory_iterator it(folder, follow, error), end; !error && it != end;
       it.increment(error)) {
    if (it.depth() > 64) {
      throw usage_error("'{}': folders are nested more than 64 deep; check for a link to a parent",
                        printable(folder));
    }
    std::error_code gone;
    expect_no_ring(it->path());
    const bool is_folder = it->is_directory(gone);
    if (hidden(it->path())) {
      if (is_folder) it.disable_recursion_pending();
    } else if (!is_folder) {
      (has_image_extension(it->path()) ? files : others).push_back(it->path().string());
    }
  }
  if (error) {
    throw usage_error("'{}' cannot be read ({}); check the permissions of what is in it",
                      printable(folder), error.message());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) throw usage_error("'{}' holds no pictures", printable(folder));
  if (!others.empty()) {
    fmt::print(stderr, "{} files in '{}' are no pictures and were passed over (one is {})\n",
               others.size(), printable(folder),
               printable(*std::min_element(others.begin(), others.end())));
  }
  return files;
}

}  // namespace

std::vector<std::string> picture_files(const std::vector<std::string>& names) {
  std::vector<std::string> all;
  for (const std::string& name : names) {
    std::error_code error;  // a name that is too long is no folder either
    if (!fs::is_directory(name, error)) {
      all.push_back(name);
      continue;
    }
    const std::vector<std::string> files = pictures_below(name);
    all.insert(all.end(), files.begin(), files.end());
  }
  return all;
}

void tell_dark(const std::vector<std::string>& pictures) {
  OddPictures odd(Exif::ignore);
  for (const std::string& name : pictures) {
    try {
      if (!OddPictures::has_16_bits(read_header_bytes(name))) continue;
      const std::vector<std::uint8_t> bytes = read_bytes(name);
      odd.look_at(bytes, decode_image(bytes, name), name);
    } catch (const Error&) {
    }
  }
  if (odd.dark().count() > 0) fmt::print(stderr, "{}\n", odd.dark().sentence());
}

std::string unused_stem(const std::string& stem, std::set<std::string>& used) {
  std::string name = stem;
  for (int n = 2; !used.insert(name).second; ++n) name = fmt::format("{}-{}", stem, n);
  return name;
}

bool BadPictures::skipped(const std::function<void()>& read) {
  try {
    read();
    return false;
  } catch (const Error& error) {
    if (error.blame() != Blame::usage) throw;
    add(error.what());
    return true;
  }
}

void BadPictures::add(const std::string& what) {
  last_ = what;
  if (++count_ <= kTold) fmt::print(stderr, "tapescope: {}\n", printable(what));
}

int BadPictures::status(std::size_t all) const {
  if (count_ > kTold || (count_ > 0 && all > 1)) {
    fmt::print(stderr, "{} of {} could not be read\n", count_, all);
  }
  return count_ > 0 ? 2 : 0;
}

}  // namespace tapescope
