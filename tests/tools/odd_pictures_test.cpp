// 16 bits a sample of which few are used: told, whatever the format, and nothing else is.
#include "tools/data/odd_pictures.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "tests/tools/temporary_folder.h"
#include "tools/data/dataset.h"
#include "tools/detection/annotations.h"

namespace tapescope {
namespace {

using Bytes = std::vector<std::uint8_t>;

void put_big(Bytes& to, std::uint32_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) to.push_back(static_cast<std::uint8_t>(value >> 8 * i));
}

void put_chunk(Bytes& to, const std::string& name, const Bytes& data) {
  put_big(to, static_cast<std::uint32_t>(data.size()), 4);
  Bytes checked(name.begin(), name.end());
  checked.insert(checked.end(), data.begin(), data.end());
  to.insert(to.end(), checked.begin(), checked.end());
  put_big(to,
          static_cast<std::uint32_t>(crc32(0, checked.data(), static_cast<uInt>(checked.size()))),
          4);
}

constexpr int kSide = 8;

// Samples of a ramp up to `largest`, which is reached in the last pixel.
Bytes samples(int largest, int channels) {
  Bytes bytes;
  for (int i = 0; i < kSide * kSide; ++i) {
    for (int c = 0; c < channels; ++c) {
      put_big(bytes, static_cast<std::uint32_t>(largest * i / (kSide * kSide - 1)), 2);
    }
  }
  return bytes;
}

Bytes png(int largest, int channels) {
  Bytes rows;
  const Bytes all = samples(largest, channels);
  const auto row = static_cast<std::ptrdiff_t>(all.size() / kSide);
  for (int y = 0; y < kSide; ++y) {
    rows.push_back(0);
    rows.insert(rows.end(), all.begin() + y * row, all.begin() + (y + 1) * row);
  }
  Bytes packed(compressBound(rows.size()));
  uLongf size = packed.size();
  compress(packed.data(), &size, rows.data(), rows.size());
  packed.resize(size);
  Bytes file = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, header;
  put_big(header, kSide, 4);
  put_big(header, kSide, 4);
  const Bytes rest = {16, static_cast<std::uint8_t>(channels == 1 ? 0 : 2), 0, 0, 0};
  header.insert(header.end(), rest.begin(), rest.end());
  put_chunk(file, "IHDR", header);
  put_chunk(file, "IDAT", packed);
  put_chunk(file, "IEND", {});
  return file;
}

// As it is, the upper byte first.
Bytes tiff(int largest) {
  const Bytes data = samples(largest, 1);
  Bytes file = {'M', 'M', 0, 42};
  put_big(file, static_cast<std::uint32_t>(8 + data.size()), 4);
  file.insert(file.end(), data.begin(), data.end());
  const std::uint32_t entries[][2] = {
      {256, kSide}, {257, kSide}, {258, 16},
      {259, 1},     {262, 1},     {273, 8},
      {277, 1},     {278, kSide}, {279, static_cast<std::uint32_t>(data.size())}};
  put_big(file, std::size(entries), 2);
  for (const auto& [tag, value] : entries) {
    put_big(file, tag, 2);
    put_big(file, 3, 2);
    put_big(file, 1, 4);
    put_big(file, value << 16, 4);
  }
  put_big(file, 0, 4);
  return file;
}

Bytes pgm(int largest) {
  const std::string head = fmt::format("P5\n{0} {0}\n65535\n", kSide);
  Bytes file(head.begin(), head.end());
  const Bytes data = samples(largest, 1);
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

bool is_dark(const Bytes& file) {
  OddPictures odd(Exif::apply);
  odd.look_at(file, decode_image(file, "a"), "a");
  EXPECT_EQ(odd.turned().count(), 0);
  EXPECT_EQ(odd.sentences().size(), static_cast<std::size_t>(odd.dark().count()));
  return odd.dark().count() == 1;
}

bool reads_tiff() {
  const std::vector<std::string> all = decoder_versions();
  return std::any_of(all.begin(), all.end(), [](const std::string& version) {
    return version.find("tiff") != std::string::npos;
  });
}

TEST(OddPictures, TwelveOfSixteenBitsAreTold) {
  for (const int largest : {0, 255, 1023, 4095}) {
    EXPECT_TRUE(is_dark(png(largest, 1))) << largest;
    EXPECT_TRUE(is_dark(png(largest, 3))) << largest;
    EXPECT_TRUE(is_dark(pgm(largest))) << largest;
    if (reads_tiff()) {
      EXPECT_TRUE(is_dark(tiff(largest))) << largest;
    }
  }
  for (const int largest : {4096, 16383, 65535}) {
    EXPECT_FALSE(is_dark(png(largest, 1))) << largest;
    EXPECT_FALSE(is_dark(png(largest, 3))) << largest;
    EXPECT_FALSE(is_dark(pgm(largest))) << largest;
    if (reads_tiff()) {
      EXPECT_FALSE(is_dark(tiff(largest))) << largest;
    }
  }
  // 8 bits are as dark as they are; other largest values of a PGM are scaled.
  EXPECT_FALSE(is_dark(get(fixture("images/grey.png"))));
  Bytes scaled = pgm(4095);
  const std::string head = fmt::format("P5\n{0} {0}\n4095\n", kSide);
  scaled.erase(scaled.begin(), scaled.begin() + static_cast<std::ptrdiff_t>(head.size() + 1));
  scaled.insert(scaled.begin(), head.begin(), head.end());
  EXPECT_FALSE(is_dark(scaled));
}

TEST(OddPictures, ASetsAreCounted) {
  const TemporaryFolder folder;
  for (int i = 0; i < 6; ++i) {
    for (const char* name : {"a", "b"}) {
      put(folder / fmt::format("set/{}/{}.png", name, i), png(i < 4 ? 4090 + i : 60000 + i, 1));
    }
    put(folder / fmt::format("boxes/images/{}.png", i), png(i < 4 ? 4090 + i : 60000 + i, 1));
    put(folder / fmt::format("boxes/labels/{}.txt", i), std::string("0 0.5 0.5 0.5 0.5\n"));
  }
  put(folder / "boxes/classes.txt", std::string("cell\n"));
  const auto told = [](const std::vector<std::string>& notices, const std::string& what) {
    return std::any_of(notices.begin(), notices.end(), [&](const std::string& notice) {
      return notice.find(what) != std::string::npos;
    });
  };
  for (const BadImage bad : {BadImage::fail, BadImage::skip}) {
    const DataSplits splits = open_data(folder / "set", {.on_bad_image = bad});
    EXPECT_TRUE(told(splits.notices, "8 pictures have 16 bits a sample and no value above 4095"));
    const detection::DetectionData boxes = detection::open_detection_data(
        folder / "boxes", {.on_bad_image = bad, .division = DataOptions()});
    EXPECT_TRUE(told(boxes.notices, "4 pictures have 16 bits a sample and no value above 4095"));
  }
}

}  // namespace
}  // namespace tapescope
