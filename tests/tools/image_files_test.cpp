// Picture files as people and attackers have them: rarer forms, damage, what is no file.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>

#include "engine/philox.h"
#include "tests/tools/temporary_folder.h"
#include "tools/data/idx.h"
#include "tools/data/image.h"

namespace tapescope {
namespace {

using Bytes = std::vector<std::uint8_t>;

Image decoded(const std::string& file, int channels = 3) {
  return decode_image(std::span(reinterpret_cast<const std::uint8_t*>(file.data()), file.size()),
                      "x", channels);
}

std::string message_of(const std::string& file) {
  return usage_message([&] { decoded(file); });
}

void expect_says(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

// Mean over all samples of the absolute difference.
double mean_difference(const Image& a, const Image& b) {
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  double sum = 0;
  for (std::size_t i = 0; i < std::min(a.pixels.size(), b.pixels.size()); ++i) {
    sum += std::abs(int{a.pixels[i]} - int{b.pixels[i]});
  }
  return sum / static_cast<double>(a.pixels.size());
}

// ---- PNM

TEST(Pnm, SixteenBitSamplesKeepTheirUpperByte) {
  // 300x300 and more: what crashed. Samples 0x7501, 0x7502, ...
  for (const char* kind : {"P5", "P6"}) {
    std::string file = fmt::format("{}\n400 400\n65535\n", kind);
    const int samples = 400 * 400 * (kind[1] == '6' ? 3 : 1);
    for (int i = 0; i < samples; ++i) {
      file += '\x75';
      file += static_cast<char>(i % 251);
    }
    const Image image = decoded(file);
    EXPECT_EQ(std::count(image.pixels.begin(), image.pixels.end(), 0x75),
              static_cast<std::ptrdiff_t>(image.pixels.size()));
  }
}

TEST(Pnm, ValuesAreSharesOfTheLargest) {
  EXPECT_EQ(decoded("P2 3 1 4 0 1 4", 1).pixels, (Bytes{0, 64, 255}));
  EXPECT_EQ(decoded("P2\n2 2\n1000\n1000 500\n250 0\n", 1).pixels, (Bytes{255, 128, 64, 0}));
  EXPECT_EQ(decoded(std::string("P5 2 1 4095 \x0f\xff\x08\x00", 16), 1).pixels, (Bytes{255, 128}));
  EXPECT_EQ(decoded("P3 1 1 15 15 3 0").pixels, (Bytes{255, 51, 0}));
  // Above the largest: clipped where it is binary, an error where it was written on purpose.
  EXPECT_EQ(decoded("P5 1 1 7 \x09", 1).pixels, (Bytes{255}));
  expect_says(message_of("P2 1 1 7 9"), "no value is above 7");
}

TEST(Pnm, BitsAndComments) {
  EXPECT_EQ(decoded("P1 4 1 0110", 1).pixels, (Bytes{255, 0, 0, 255}));
  EXPECT_EQ(decoded("P4 10 1 \x80\x40", 1).pixels,
            (Bytes{0, 255, 255, 255, 255, 255, 255, 255, 255, 0}));
  EXPECT_EQ(decoded("P2 # kind\n# more\n2 1#size\n9 # largest\n9 # first\n0", 1).pixels,
            (Bytes{255, 0}));
}

TEST(Pnm, WhatIsMissingOrImpossibleIsSaid) {
  expect_says(message_of("P2 2 2 9 1 2 3"), "cut off");
  expect_says(message_of("P1 2 2 1 0 1"), "cut off");
  expect_says(message_of("P5 2 2 255 abc"), "cut off");
  expect_says(message_of("P5 2"), "cut off");
  expect_says(message_of("P4 9 2 abc"), "cut off");
  expect_says(message_of("P2 2 1 9 1 x"), "no number");
  expect_says(message_of("P1 2 1 0 2"), "no number");
  expect_says(message_of("P2 0 1 9 1"), "no picture size");
  expect_says(message_of("P5 1 1 0 a"), "no picture size");
  expect_says(message_of("P5 1 1 65536 ab"), "65535");
  expect_says(message_of("P5 -1 1 255 ab"), "no number");
  expect_says(message_of("P5 99999999999 1 255 ab"), "no number");
  expect_says(message_of("P7\nWIDTH 1\n"), "PAM");
  expect_says(message_of("Pf\n1 1\n-1.0\nabcd"), "PFM");
}

// ---- the inputs that once failed

TEST(SharedCases, PnmOfAnyDepth) {
  const auto folder = shared_case("files");
  if (folder.empty()) GTEST_SKIP() << "no shared cases";
  if (const auto file = folder / "01_pgm16/crash_400.pgm"; std::filesystem::exists(file)) {
    const Image image = read_image(file);
    EXPECT_EQ(std::count(image.pixels.begin(), image.pixels.end(), 117), 400 * 400 * 3);
  }
  if (const auto file = folder / "01_pgm16/ramp16.ppm"; std::filesystem::exists(file)) {
    const Bytes bytes = get(file);
    const Image image = read_image(file);
    const std::uint8_t* samples = bytes.data() + (bytes.size() - image.pixels.size() * 2);
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      ASSERT_EQ(image.pixels[i], samples[i * 2]) << i;
    }
  }
  if (const auto file = folder / "02_pnm_maxval/n_max15.ppm"; std::filesystem::exists(file)) {
    const Bytes bytes = get(file);
    const Image image = read_image(file);
    const std::uint8_t* samples = bytes.data() + (bytes.size() - image.pixels.size());
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      ASSERT_EQ(image.pixels[i], samples[i] * 17) << i;
    }
  }
}

TEST(SharedCases, CmykWithoutAMarkerIsCmyk) {
  const auto folder = shared_case("files/03_cmyk");
  if (folder.empty()) GTEST_SKIP() << "no shared cases";
  EXPECT_LT(
      mean_difference(read_image(folder / "j_cmyk_noadobe.jpg"), read_image(folder / "base.png")),
      3);
}

TEST(SharedCases, HugePngsAreRefused) {
  const auto folder = shared_case("faults");
  if (folder.empty()) GTEST_SKIP() << "no shared cases";
  expect_says(usage_message([&] { read_image(folder / "png30000.png"); }), "30000 x 30000");
  expect_says(usage_message([&] { read_image(folder / "tall.png"); }), "1 x 40000");
  expect_says(usage_message([&] { read_image_size(folder / "tall.png"); }), "up to 32768");
}

TEST(SharedCases, BmpBeyondItsPaletteIsBlack) {
  const auto file = shared_case("files/15_bmp/index_beyond_palette.bmp");
  if (file.empty()) GTEST_SKIP() << "no shared cases";
  const Bytes bytes = get(file);
  const Image image = read_image(file);
  const std::size_t colours = bytes[46],
                    stride = (static_cast<std::size_t>(image.width) + 3) / 4 * 4;
  int beyond = 0;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const std::size_t row = static_cast<std::size_t>(image.height - 1 - y);
      const std::size_t index = bytes[bytes[10] + row * stride + static_cast<std::size_t>(x)];
      for (std::size_t c = 0; c < 3; ++c) {
        const int expected = index < colours ? bytes[54 + index * 4 + 2 - c] : 0;
        ASSERT_EQ(image.at(y, x)[c], expected) << y << ' ' << x;
      }
      beyond += index >= colours ? 1 : 0;
    }
  }
  EXPECT_GT(beyond, 0);
}

// ---- PNG

Bytes png(std::uint32_t width, std::uint32_t height, int colour, const Bytes& palette,
          const Bytes& raw) {
  Bytes file = {0x89, 'P', 'N', 'G', 13, 10, 26, 10};
  const auto word = [](Bytes& to, std::uint32_t v) {
    for (int shift : {24, 16, 8, 0}) to.push_back(static_cast<std::uint8_t>(v >> shift));
  };
  const auto chunk = [&](const std::string& type, const Bytes& data) {
    Bytes body(type.begin(), type.end());
    body.insert(body.end(), data.begin(), data.end());
    word(file, static_cast<std::uint32_t>(data.size()));
    file.insert(file.end(), body.begin(), body.end());
    word(file, static_cast<std::uint32_t>(crc32(0, body.data(), static_cast<uInt>(body.size()))));
  };
  Bytes head;
  word(head, width);
  word(head, height);
  head.insert(head.end(), {8, static_cast<std::uint8_t>(colour), 0, 0, 0});
  chunk("IHDR", head);
  if (!palette.empty()) chunk("PLTE", palette);
  Bytes packed(compressBound(raw.size()));
  uLongf size = packed.size();
  EXPECT_EQ(compress2(packed.data(), &size, raw.data(), raw.size(), 9), Z_OK);
  packed.resize(size);
  chunk("IDAT", packed);
  chunk("IEND", {});
  return file;
}

TEST(Png, IndicesBeyondThePaletteAreBlack) {
  const Bytes file = png(4, 1, 3, {10, 20, 30, 40, 50, 60}, {0, 0, 1, 2, 255});
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(decode_image(file, "x.png").pixels,
              (Bytes{10, 20, 30, 40, 50, 60, 0, 0, 0, 0, 0, 0}));
  }
}

// Not even where it is like a palette that runs out of the file.
TEST(Png, WhatFollowsTheEndIsNotRead) {
  const Bytes raw = {0, 0, 1, 2, 255};
  for (const std::uint8_t length : {0, 2, 255}) {  // of 0, 514 or 65,535 bytes
    const Bytes tail = {0, 0, length, length, 'P', 'L', 'T', 'E', 1, 2, 3, 4};
    const auto followed = [&](Bytes file) {
      file.insert(file.end(), tail.begin(), tail.end());
      return file;
    };
    EXPECT_EQ(decode_image(followed(png(4, 1, 3, {10, 20, 30, 40, 50, 60}, raw)), "x.png").pixels,
              (Bytes{10, 20, 30, 40, 50, 60, 0, 0, 0, 0, 0, 0}));
    expect_says(usage_message([&] { decode_image(followed(png(4, 1, 3, {}, raw)), "x.png"); }),
                "cannot be decoded (no PLTE)");
  }
}

TEST(Png, DataThatInflateBeyondThePictureAreRefused) {
  const Bytes file = png(8, 8, 2, {}, Bytes(std::size_t{64} << 20));
  EXPECT_LT(file.size(), 100'000u);
  expect_says(usage_message([&] { decode_image(file, "x.png"); }), "inflate to more than 8 x 8");
  EXPECT_NO_THROW(decode_image(png(8, 8, 2, {}, Bytes(8 * 25)), "x.png"));
}

// ---- what is no file

TEST(ReadBytes, OnlyRegularFilesAndWithoutWaiting) {
  const TemporaryFolder folder;
  const std::string pipe = (folder / "pipe.jpg").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_says(usage_message([&] { read_image(pipe); }), "pipe.jpg: is a pipe");
  expect_says(usage_message([&] { read_image_size(pipe); }), "is a pipe");
  expect_says(usage_message([&] { read_image("/dev/zero"); }), "/dev/zero: is a device");
  std::filesystem::create_symlink("/dev/zero", folder / "zero.png");
  expect_says(usage_message([&] { read_image(folder / "zero.png"); }), "zero.png: is a device");
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name = (folder / "s.png").string();
  ASSERT_LT(name.size(), sizeof address.sun_path);
  std::copy(name.begin(), name.end(), address.sun_path);
  ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  expect_says(usage_message([&] { read_image(folder / "s.png"); }), "is a socket");
  ::close(socket);
  // Links are followed.
  std::filesystem::create_symlink(fixture("images/color.png"), folder / "link.png");
  EXPECT_EQ(read_image(folder / "link.png").width, 37);
  EXPECT_EQ(read_bytes(folder / "link.png"), get(fixture("images/color.png")));
  put(folder / "long.bin", std::string(100, 'x'));
  expect_says(usage_message([&] { read_bytes(folder / "long.bin", 99); }), "is 100 bytes long");
  EXPECT_EQ(read_bytes("/proc/self/stat").empty(), false);  // says that it has no bytes
}

// ---- IDX

TEST(Idx, APromiseBeyondTheFileOrTheMemoryIsRefusedFirst) {
  const TemporaryFolder folder;
  // 2^20 pictures of 1024 x 1024 in a file of 16 bytes.
  put(folder / "a-idx3-ubyte", std::string("\0\0\x08\x03\0\x10\0\0\0\0\x04\0\0\0\x04\0", 16));
  expect_says(usage_message([&] { read_idx(folder / "a-idx3-ubyte"); }), "cannot hold them");
  const std::string name = (folder / "b-idx3-ubyte.gz").string();
  gzFile file = gzopen(name.c_str(), "wb9");
  const Bytes head = {0, 0, 8, 3, 0x40, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 16};  // 2^30 of 16 x 16
  gzwrite(file, head.data(), static_cast<unsigned>(head.size()));
  gzclose(file);
  // A file that could hold it: of 512 MiB, of which the disk keeps nothing.
  std::filesystem::resize_file(name, std::uintmax_t{512} << 20);
  const std::string message = usage_message([&] { read_idx(name); });
  expect_says(message, "b-idx3-ubyte.gz: ");
  expect_says(message, "256.00 GiB");
}

}  // namespace
}  // namespace tapescope
