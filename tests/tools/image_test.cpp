#include "tools/data/image.h"

#include <zlib.h>

#include <cmath>

#include "engine/philox.h"
#include "tests/tools/temporary_folder.h"
#include "tools/report/png.h"

namespace tapescope {
namespace {

std::filesystem::path picture(const std::string& name) { return fixture("images/" + name); }

// Parsed here, not by the reader under test: "P6\n37 29\n255\n" and the pixels.
Image plain(const std::string& name) {
  std::ifstream file(picture(name), std::ios::binary);
  std::string magic;
  int width = 0;
  int height = 0;
  int largest = 0;
  file >> magic >> width >> height >> largest;
  file.get();
  Image image(height, width, magic == "P6" ? 3 : 1);
  file.read(reinterpret_cast<char*>(image.pixels.data()),
            static_cast<std::streamsize>(image.pixels.size()));
  EXPECT_TRUE(file.good()) << name;
  return image;
}

void expect_near(const Image& a, const Image& b, int tolerance, const std::string& what) {
  ASSERT_EQ(a.height, b.height) << what;
  ASSERT_EQ(a.width, b.width) << what;
  ASSERT_EQ(a.channels, b.channels) << what;
  int worst = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    worst = std::max(worst, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  }
  EXPECT_LE(worst, tolerance) << what;
}

void expect_says(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(ReadImage, LosslessFormatsGiveTheStoredPixels) {
  const Image color = plain("color.ppm");
  for (const char* name : {"color.ppm", "color.png", "color.bmp", "alpha.png"}) {
    expect_near(read_image(picture(name)), color, 0, name);
  }
  expect_near(read_image(picture("palette.png")), plain("palette_rgb.ppm"), 0, "palette");
  const Image grey = plain("grey.pgm");
  expect_near(read_image(picture("grey.png"), 1), grey, 0, "grey as one channel");
  expect_near(read_image(picture("grey.pgm"), 1), grey, 0, "PGM as one channel");
  const Image three = read_image(picture("grey.png"), 3);
  ASSERT_EQ(three.channels, 3);
  for (std::size_t i = 0; i < grey.pixels.size(); ++i) {
    for (std::size_t c = 0; c < 3; ++c) ASSERT_EQ(three.pixels[i * 3 + c], grey.pixels[i]);
  }
  const Image wide = read_image(picture("grey16.png"), 1);
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(wide.pixels[static_cast<std::size_t>(i)], (i * 3271 + 5) >> 8);
}

TEST(ReadImage, JpegVariantsAgreeWithPillow) {
  for (const char* name : {"baseline", "progressive", "grey", "restart", "subsampled"}) {
    const std::string stem = name;
    expect_near(read_image(picture(stem + ".jpg")), plain(stem + "_jpg.ppm"), 2, name);
  }
}

TEST(ReadImage, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  const auto says = [&](const std::string& name, const std::string& content,
                        const std::string& part) {
    put(folder / name, content);
    const std::string message = usage_message([&] { read_image(folder / name); });
    expect_says(message, part);
    expect_says(message, (folder / name).string());
  };
  says("empty.png", "", "empty (0 bytes)");
  says("text.png", "This is a text, not a picture.\n", "not a picture");
  says("byte.jpg", "\xff", "not a picture");
  says("gif.png", "GIF89a......", "GIF");
  says("webp.jpg", std::string("RIFF\x10\0\0\0WEBPVP8 ", 16), "WebP");
  expect_says(usage_message([&] { read_image(folder / "absent.png"); }), "cannot be read");
  expect_says(usage_message([&] { read_image(folder.path()); }), "is a folder");
  expect_says(usage_message([&] { read_image(picture("color.png"), 2); }), "1 or 3");
}

TEST(ReadImage, FilesCutAnywhereAreErrors) {
  for (const char* name :
       {"baseline.jpg", "progressive.jpg", "grey.jpg", "restart.jpg", "subsampled.jpg", "color.png",
        "palette.png", "grey16.png", "color.bmp", "color.ppm", "grey.pgm"}) {
    const std::vector<std::uint8_t> whole = get(picture(name));
    ASSERT_NO_THROW(decode_image(whole, name));
    for (std::size_t size = 0; size < whole.size(); size += size < 200 ? 1 : 7) {
      const std::span<const std::uint8_t> cut(whole.data(), size);
      EXPECT_THROW(decode_image(cut, name), Error) << name << " cut to " << size;
      EXPECT_THROW(check_image(cut, name), Error) << name << " cut to " << size;
    }
    const std::span<const std::uint8_t> cut(whole.data(), whole.size() - 1);
    EXPECT_THROW(decode_image(cut, name), Error) << name << " without its last byte";
  }
}

TEST(ReadImage, TrailingBytesAreAllowed) {
  for (const char* name : {"baseline.jpg", "color.png", "color.ppm"}) {
    std::vector<std::uint8_t> bytes = get(picture(name));
    bytes.insert(bytes.end(), {1, 2, 3, 0xff, 0});
    EXPECT_NO_THROW(decode_image(bytes, name)) << name;
  }
}

TEST(ReadImage, ACutJpegFilledUpWithZerosIsAnError) {
  std::vector<std::uint8_t> bytes = get(picture("baseline.jpg"));
  std::fill(bytes.end() - 40, bytes.end(), 0);
  expect_says(usage_message([&] { decode_image(bytes, "x.jpg"); }), "cut off");
}

TEST(ReadImage, EveryChangedBitOfAPngsPictureIsSeen) {
  const std::vector<std::uint8_t> whole = get(picture("color.png"));
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::vector<std::uint8_t> bytes = whole;
    bytes[i] ^= 0x10;
    EXPECT_THROW(decode_image(bytes, "x.png"), Error) << "byte " << i;
  }
}

TEST(ReadImage, RandomDamageNeverCrashes) {
  PhiloxStream random(7);
  for (const char* name :
       {"baseline.jpg", "progressive.jpg", "restart.jpg", "palette.png", "color.bmp", "grey.pgm"}) {
    const std::vector<std::uint8_t> whole = get(picture(name));
    for (int round = 0; round < 300; ++round) {
      std::vector<std::uint8_t> bytes = whole;
      for (int k = 0; k <= round % 4; ++k) {
        bytes[random.below(static_cast<std::uint32_t>(bytes.size()))] =
            static_cast<std::uint8_t>(random.next_u32());
      }
      try {
        const Image image = decode_image(bytes, name);
        EXPECT_EQ(image.pixels.size(), static_cast<std::size_t>(image.height) *
                                           static_cast<std::size_t>(image.width) * 3);
      } catch (const Error& error) {
        EXPECT_EQ(error.blame(), Blame::usage);
      }
    }
  }
}

TEST(ReadImage, ImpossibleHuffmanTablesAreRefusedBeforeDecoding) {
  std::vector<std::uint8_t> bytes = get(picture("baseline.jpg"));
  std::size_t tables = 0;
  while (bytes[tables] != 0xff || bytes[tables + 1] != 0xc4) ++tables;
  bytes[tables + 5 + 15] = 255;  // so many codes of 16 bits do not fit the table's segment
  expect_says(usage_message([&] { decode_image(bytes, "x.jpg"); }), "Huffman");
  bytes[tables + 5] = 3;  // three codes of one bit
  expect_says(usage_message([&] { check_image(bytes, "x.jpg"); }), "Huffman");
}

TEST(ReadImage, HugeClaimsAreRefusedBeforeMemoryIsAskedFor) {
  // A PNG header of 15000 x 15000 with right checksums and a tiny IDAT.
  std::vector<std::uint8_t> bytes = {0x89, 'P', 'N', 'G', 13, 10, 26, 10};
  const auto chunk = [&](const std::string& type, const std::vector<std::uint8_t>& data) {
    std::vector<std::uint8_t> body(type.begin(), type.end());
    body.insert(body.end(), data.begin(), data.end());
    const auto word = [&](std::uint32_t v) {
      for (int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::uint8_t>(v >> shift));
    };
    word(static_cast<std::uint32_t>(data.size()));
    bytes.insert(bytes.end(), body.begin(), body.end());
    word(static_cast<std::uint32_t>(crc32(0, body.data(), static_cast<uInt>(body.size()))));
  };
  chunk("IHDR", {0, 0, 0x3a, 0x98, 0, 0, 0x3a, 0x98, 8, 2, 0, 0, 0});
  chunk("IDAT", {0x78, 0x9c, 3, 0, 0, 0, 0, 1});
  chunk("IEND", {});
  expect_says(usage_message([&] { decode_image(bytes, "bomb.png"); }), "15000 x 15000");
}

TEST(Png, WritesWhatIsReadBack) {
  const TemporaryFolder folder;
  PhiloxStream random(3);
  for (int channels : {1, 3}) {
    Image image(13, 17, channels);
    for (auto& pixel : image.pixels) pixel = static_cast<std::uint8_t>(random.next_u32());
    write_png(folder / "a.png", image);
    expect_near(read_image(folder / "a.png", channels), image, 0, "round trip");
    EXPECT_EQ(get(folder / "a.png"), encode_png(image));
  }
  EXPECT_THROW(write_png(folder / "no/such/folder.png", Image(2, 2, 3)), Error);
  EXPECT_THROW(write_png(folder / "b.png", Image(0, 2, 3)), Error);
}

}  // namespace
}  // namespace tapescope
