// What is kept between runs of listings and pictures: used while nothing changed, and never
// otherwise.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "tests/says.h"
#include "tests/tools/tar_file.h"
#include "tests/tools/temporary_folder.h"
#include "tools/data/decoders.h"
#include "tools/data/folder_scan.h"
#include "tools/data/shard_writer.h"
#include "tools/data/shards.h"
#include "tools/data/splits.h"
#include "tools/data/tar_index.h"
#include "tools/files/user_cache.h"
#include "tools/report/png.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kHour = 3'600'000'000'000;

// As if it had last been written to in 2001.
void set_old(const fs::path& path) {
  const timespec times[] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0) << path;
}

// Longer than any file system's clock takes to tick.
void tick() { std::this_thread::sleep_for(std::chrono::milliseconds(30)); }

class ListingCache : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* place = std::getenv("XDG_CACHE_HOME");
    had_ = place != nullptr;
    before_ = had_ ? place : "";
    ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    set_clock_ahead(kHour);  // else nothing of today is kept
    for (const char* label : {"cat", "dog"}) {
      for (int i = 0; i < 6; ++i) picture(fmt::format("{}/p{}.png", label, i), i);
    }
    make_old();
    if (!shows_changes(folder_.path())) GTEST_SKIP() << "listings are not kept on this file system";
  }
  void TearDown() override {
    set_clock_ahead(0);
    had_ ? ::setenv("XDG_CACHE_HOME", before_.c_str(), 1) : ::unsetenv("XDG_CACHE_HOME");
  }
  fs::path data() const { return folder_ / "data"; }
  void picture(const std::string& name, int shade, int width = 5) const {
    const fs::path path = data() / name;
    fs::create_directories(path.parent_path());
    Image image(4, width, 3, static_cast<std::uint8_t>(10 + shade));
    image.pixels[0] = static_cast<std::uint8_t>(name[0]);
    write_png(folder_ / "new.png", image);
    put(path, get(folder_ / "new.png"));  // in place: no other inode
  }
  void make_old() const {
    for (const auto& entry : fs::recursive_directory_iterator(data())) set_old(entry.path());
    set_old(data());
    tick();
  }
  DataSplits open() const { return open_data(data(), {.validation_fraction = 0, .keep_from = 1}); }
  // Names and contents, in order.
  std::string seen() const {
    std::string text;
    for (const RecordedPicture& p : record_of(open()).pictures) {
      text += fmt::format("{} {:x} {}\n", p.name, p.content.hash, p.content.bytes);
    }
    return text;
  }
  // What open() would see without any cache.
  std::string seen_anew() const {
    ::setenv("XDG_CACHE_HOME", "/nowhere/at/all", 1);
    const std::string text = seen();
    ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    return text;
  }
  std::string key() const { return fs::canonical(data()).string(); }
  std::string pictures_key() const { return "checked, EXIF apply " + key(); }
  // What is kept under these says something else from now on.
  static void plant(const std::string& kind, const std::string& key, const std::string& from,
                    const std::string& to) {
    ASSERT_EQ(from.size(), to.size());
    std::string kept = cached(kind, key).value_or("");
    const std::size_t at = kept.find(from);
    ASSERT_NE(at, std::string::npos) << kind << " " << key;
    keep_cached(kind, key, kept.replace(at, from.size(), to));
  }
  std::vector<fs::path> kept_files() const {
    std::vector<fs::path> files;
    if (!fs::exists(folder_ / "cache/tapescope")) return files;
    for (const auto& entry : fs::directory_iterator(folder_ / "cache/tapescope")) {
      files.push_back(entry.path());
    }
    return files;
  }
  TemporaryFolder folder_;

 private:
  bool had_ = false;
  std::string before_;
};

TEST_F(ListingCache, TheSecondTimeNothingIsListedOrRead) {
  const std::string first = seen();
  EXPECT_EQ(first, seen_anew());
  EXPECT_EQ(seen(), first);
  plant("folder", key(), "dog/p3.png", "dog/q3.png");
  EXPECT_SAYS(usage_message([&] { open(); }), "q3.png") << "the list was not asked";
  plant("folder", key(), "dog/q3.png", "dog/p3.png");
  EXPECT_EQ(seen(), first);
  const auto hash = open().train->content(2).hash;
  const std::string bytes(reinterpret_cast<const char*>(&hash), 8);
  plant("pictures", pictures_key(), bytes, "another!");
  EXPECT_NE(seen(), first) << "the picture was read";
  // By another name, and from another place.
  fs::create_directory_symlink(data(), folder_ / "link");
  const DataSplits by_link =
      open_data(folder_ / "link/", {.validation_fraction = 0, .keep_from = 1});
  EXPECT_EQ(by_link.train->name(0), (folder_ / "link/cat/p0.png").string());
  EXPECT_NE(by_link.train->content(2).hash, hash);
}

TEST_F(ListingCache, EveryChangeIsSeen) {
  seen();
  ASSERT_TRUE(cached("folder", key()).has_value());
  const auto expect_seen = [&](const std::string& what) {
    const std::string anew = seen_anew();
    EXPECT_EQ(seen(), anew) << what;
    EXPECT_EQ(seen(), anew) << what;
    make_old();
    EXPECT_EQ(seen(), anew) << what;
    EXPECT_EQ(seen(), anew) << what;
  };
  picture("dog/new.png", 50);
  EXPECT_SAYS(seen(), "dog/new.png");
  expect_seen("added");
  picture("cow/deep/er/1.png", 51);
  expect_seen("a class and folders");
  picture("cow/deep/er/2.png", 52);
  expect_seen("added deep down");
  fs::remove(data() / "cat/p0.png");
  expect_seen("removed");
  fs::rename(data() / "cat/p1.png", data() / "cat/zz.png");
  expect_seen("renamed");
  picture("cat/p2.png", 99);  // the same size, in place
  expect_seen("rewritten");
  const std::string before = seen();
  tick();
  picture("cat/p2.png", 98);
  set_old(data() / "cat/p2.png");
  EXPECT_NE(seen(), before) << "its time was set back";
  expect_seen("rewritten, and its time set back");
  tick();
  picture("dog/back.png", 53);
  set_old(data() / "dog");
  expect_seen("added, and the folder's time set back");
  fs::rename(data() / "dog", folder_ / "dog");
  fs::create_directories(data() / "dog");
  fs::copy(folder_ / "dog", data() / "dog");
  set_old(data());
  expect_seen("a folder in another's place");
}

TEST_F(ListingCache, WhatIsOfThisMomentIsNotKept) {
  set_clock_ahead(0);
  picture("dog/fresh.png", 60);
  seen();
  EXPECT_FALSE(cached("folder", key()).has_value()) << "another may come in the same tick";
  const std::string facts = cached("pictures", pictures_key()).value_or("");
  EXPECT_EQ(facts.find("fresh.png"), std::string::npos);
  set_clock_ahead(-kHour);  // files of the future
  seen();
  EXPECT_TRUE(kept_files().empty() || !cached("folder", key()).has_value());
}

TEST_F(ListingCache, FewPicturesAndLinksThatMayTurnAreNotKept) {
  open_data(data(), {.validation_fraction = 0, .keep_from = 13});
  EXPECT_TRUE(kept_files().empty());
  fs::create_directories(folder_ / "elsewhere");
  put(folder_ / "elsewhere/file", "x");
  fs::create_symlink(folder_ / "elsewhere/file", data() / "cat/more");
  make_old();
  seen();
  EXPECT_FALSE(cached("folder", key()).has_value());
  // It leads to a folder with a picture now, and no listed folder changed.
  fs::remove(folder_ / "elsewhere/file");
  fs::create_directories(folder_ / "elsewhere/file");
  fs::copy(data() / "dog/p0.png", folder_ / "elsewhere/file/1.png");
  EXPECT_SAYS(seen(), "cat/more/1.png");
}

TEST_F(ListingCache, ATornOrForeignCacheIsMadeAnewInSilence) {
  const std::string expected = seen();
  const std::vector<fs::path> files = kept_files();
  ASSERT_EQ(files.size(), 2u);
  for (const fs::path& file : files) {
    const std::vector<std::uint8_t> whole = get(file);
    for (std::size_t length = 0; length < whole.size(); length += 1 + whole.size() / 40) {
      put(file, std::span(whole).first(length));
      EXPECT_EQ(seen(), expected) << "cut to " << length;
      std::vector<std::uint8_t> bent = whole;
      bent[length] ^= 0x40;
      put(file, bent);
      EXPECT_EQ(seen(), expected) << "bent at " << length;
    }
    // Whole, but of another content than its kind has.
    const std::string kind = file.filename().string().substr(0, file.filename().string().find('-'));
    for (const std::string& content :
         {std::string(), std::string(8, '\xff'), std::string(4000, '\1'), std::string(64, '\0')}) {
      keep_cached(kind, kind == "folder" ? key() : pictures_key(), content);
      EXPECT_EQ(seen(), expected);
    }
    if (::geteuid() == 0) {
      put(file, whole);
      ASSERT_EQ(::chown(file.c_str(), 12345, 12345), 0);
      EXPECT_FALSE(cached(kind, kind == "folder" ? key() : pictures_key()).has_value());
      EXPECT_EQ(seen(), expected);
    }
    fs::remove(file);
    fs::create_directory(file);
    EXPECT_EQ(seen(), expected);
    fs::remove(file);
    ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
    EXPECT_EQ(seen(), expected) << "a pipe is not waited for";
  }
}

TEST_F(ListingCache, APlaceThatCannotBeWrittenIsNoFailure) {
  const std::string expected = seen();
  for (const char* place : {"/proc/none", "/dev/null", "relative", ""}) {
    ::setenv("XDG_CACHE_HOME", place, 1);
    EXPECT_EQ(seen(), expected) << place;
  }
}

TEST_F(ListingCache, WhatWasNotUsedForLongestGoes) {
  keep_cached("a", "old", "1");
  keep_cached("a", "new", "2");
  const fs::path place = folder_ / "cache/tapescope";
  for (const char* name : {"x-1.kept", "y-1.kept"}) {
    put(place / name, "x");
    fs::resize_file(place / name, kMostCacheBytes / 2 - 4096);  // with a hole: it takes no room
    set_old(place / name);
  }
  put(place / "somebody's.txt", "x");
  fs::resize_file(place / "somebody's.txt", kMostCacheBytes);
  EXPECT_EQ(cached("a", "old").value_or(""), "1");
  keep_cached("a", "third", std::string(10'000, '3'));
  EXPECT_EQ(fs::exists(place / "x-1.kept") + fs::exists(place / "y-1.kept"), 1);
  EXPECT_TRUE(cached("a", "old") && cached("a", "new") && cached("a", "third"));
  EXPECT_TRUE(fs::exists(place / "somebody's.txt"));
}

TEST_F(ListingCache, ShardsAreIndexedOnceUntilTheyChange) {
  if (tar_library().empty()) GTEST_SKIP() << "this build has no libarchive";
  const auto bytes = [&](const std::string& name) {
    const std::vector<std::uint8_t> all = get(data() / name);
    return std::string(all.begin(), all.end());
  };
  const auto shard = [&](const std::string& one, const std::string& two) {
    return tar_entry("1.png", bytes("cat/p0.png")) + tar_entry("1.cls", one) +
           tar_entry("2.png", bytes("dog/p0.png")) + tar_entry("2.cls", two) + tar_end();
  };
  const fs::path tar = folder_ / "shards/0.tar";
  put(tar, shard("0", "1"));
  set_old(tar);
  tick();
  const auto labels = [&] {
    const DataSplits splits =
        open_data(folder_ / "shards", {.validation_fraction = 0, .keep_from = 1});
    return fmt::format("{}{}", splits.train->label(0), splits.train->label(1));
  };
  EXPECT_EQ(labels(), "01");
  const std::string place = fs::canonical(folder_ / "shards").string();
  plant("shards", place,
        std::string("\1\0\0\0\0\0\0\0"
                    "1",
                    9),
        std::string("\1\0\0\0\0\0\0\0"
                    "9",
                    9));
  EXPECT_EQ(labels(), "01");
  EXPECT_EQ(open_data(folder_ / "shards", {.validation_fraction = 0, .keep_from = 1}).classes[1],
            "9")
      << "the tar file was read";
  put(tar, shard("1", "0"));  // as long
  set_old(tar);
  EXPECT_EQ(labels(), "10");
}

TEST_F(ListingCache, CompressedShardsAreUnpackedOnce) {
  if (tar_library().empty()) GTEST_SKIP() << "this build has no libarchive";
  const auto packed = [&](const std::string& one) {
    std::string tar;
    for (int i = 0; i < 4; ++i) {
      const std::vector<std::uint8_t> png = get(data() / fmt::format("cat/p{}.png", i));
      tar += tar_entry(fmt::format("{}.png", i), {png.begin(), png.end()}) +
             tar_entry(fmt::format("{}.cls", i), i == 0 ? one : std::to_string(i % 2));
    }
    tar += tar_end();
    std::string out(compressBound(tar.size()) + 64, '\0');
    z_stream stream{};
    EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = reinterpret_cast<Bytef*>(tar.data());
    stream.avail_in = static_cast<uInt>(tar.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
  };
  const fs::path file = folder_ / "shards/train-0.tar.gz";
  const auto labels = [&] {
    const DataSplits splits =
        open_data(folder_ / "shards", {.validation_fraction = 0, .cache_bytes = 0, .keep_from = 1});
    std::string text;
    for (std::int64_t i = 0; i < splits.train->size(); ++i) {
      text += std::to_string(splits.train->label(i));
      EXPECT_EQ(copy_of(splits.train->image(i)).pixels[7], 10 + i);
    }
    EXPECT_EQ(splits.train->name(2), file.string() + "/2.png");
    return text;
  };
  put(file, packed("0"));
  set_old(file);
  tick();
  EXPECT_EQ(labels(), "0101");
  const auto tars = [&] {
    std::vector<std::pair<fs::path, std::int64_t>> found;
    for (const fs::path& kept : kept_files()) {
      if (kept.extension() == ".tar") found.emplace_back(kept, stamp_of(kept).inode);
    }
    return found;
  };
  const auto first = tars();
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(labels(), "0101");
  EXPECT_EQ(tars(), first) << "unpacked again";
  put(file, packed("1"));
  set_old(file);
  EXPECT_EQ(labels(), "1101");
  ASSERT_EQ(tars().size(), 1u);
  // What was unpacked is not trusted further than its stamp.
  put(tars()[0].first, "something else");
  EXPECT_EQ(labels(), "1101");
  const std::string whole = packed("0");
  put(file, whole.substr(0, whole.size() - 20));
  EXPECT_SAYS(usage_message(labels), "train-0.tar.gz: cannot be unpacked");
  put(folder_ / "shards/train-1.tar.gz", whole);
  const DataSplits rest = open_data(folder_ / "shards", {.on_bad_image = BadImage::skip});
  EXPECT_SAYS(rest.bad_images.at(0), "train-0.tar.gz: cannot be unpacked");
  EXPECT_SAYS(rest.train->name(0), "train-1.tar.gz/");
}

TEST_F(ListingCache, OddPicturesAreToldTheSecondTimeToo) {
  if (tiff_version().empty()) GTEST_SKIP() << "this build has no libtiff";
  // One grey pixel, its orientation 6; tag, type (3: 16 bits, 4: 32), count and value.
  const auto little = [](std::uint32_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
    return text;
  };
  const std::vector<std::array<std::uint32_t, 3>> tags = {
      {256, 3, 1}, {257, 3, 1}, {258, 3, 8}, {259, 3, 1}, {262, 3, 1},
      {273, 4, 8}, {274, 3, 6}, {277, 3, 1}, {278, 3, 1}, {279, 4, 1}};
  std::string tiff = std::string("II*\0", 4) + little(10, 4) + "x ";
  tiff += little(static_cast<std::uint32_t>(tags.size()), 2);
  for (const auto& [tag, type, value] : tags) {
    tiff += little(tag, 2) + little(type, 2) + little(1, 4) + little(value, 4);
  }
  put(data() / "cat/turned.tif", tiff + little(0, 4));
  put(data() / "dog/dark.pgm", std::string("P5 2 1 65535\n\0\1\0\2", 17));
  make_old();
  for (int time = 0; time < 3; ++time) {
    std::string told;
    for (const std::string& notice : open().notices) told += notice + "\n";
    EXPECT_SAYS(told, "turned.tif") << ", time " << time;
    EXPECT_SAYS(told, "dark.pgm") << ", time " << time;
  }
}

// Takes minutes and a million inodes. Prints processor time, and holds nothing to it.
TEST_F(ListingCache, AMillionFiles) {
  if (std::getenv("TAPESCOPE_FULL") == nullptr) GTEST_SKIP() << "TAPESCOPE_FULL is not set";
  const auto seconds = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto of = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return of(usage.ru_utime) + of(usage.ru_stime);
  };
  for (const int count : {10'000, 100'000, 1'000'000}) {
    const fs::path root = folder_ / std::to_string(count);
    for (int c = 0; c < 100; ++c) fs::create_directories(root / fmt::format("class{:02}", c));
    for (int i = 0; i < count; ++i) {
      std::ofstream(root / fmt::format("class{:02}/{:06}.png", i % 100, i / 100)).flush();
    }
    tick();
    const double began = seconds();
    const FolderScan first = scan_classes(root);
    const double scanned = seconds();
    const FolderScan second = scan_classes(root);
    const double again = seconds();
    EXPECT_EQ(first.files, second.files);
    EXPECT_EQ(first.files[99].size(), static_cast<std::size_t>(count / 100));
    const ShardedData written = write_shards({root, folder_ / "out", std::int64_t{64} << 20});
    const double sharded = seconds();
    EXPECT_EQ(written.parts[0].pictures, count);
    std::size_t samples = 0;
    for (std::int64_t i = 0; i < written.parts[0].shards; ++i) {
      samples += index_of(folder_ / "out" / fmt::format("{:06}.tar", i)).samples.size();
    }
    EXPECT_EQ(samples, static_cast<std::size_t>(count));
    fmt::print(
        "{:>9} files: listed in {:.2f} s, again in {:.2f} s, sharded in {:.2f} s, indexed in "
        "{:.2f} s\n",
        count, scanned - began, again - scanned, sharded - again, seconds() - sharded);
    fs::remove_all(root);
    fs::remove_all(folder_ / "out");
  }
}

}  // namespace
}  // namespace tapescope
