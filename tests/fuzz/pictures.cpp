// Pictures and what is like them: IDX, frames of a stream, arrays.
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "engine/tensor.h"
#include "tests/fuzz/fuzz.h"
#include "tools/data/idx.h"
#include "tools/data/image.h"
#include "tools/detection/stream.h"
#include "tools/report/npy.h"
#include "tools/report/png.h"

namespace tapescope::fuzz {
namespace {

constexpr std::int64_t kLargest = 1 << 22;  // pixels: a header may ask for more time than this has

Image striped(int height, int width, int channels) {
  Image image(height, width, channels);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = static_cast<std::uint8_t>(i * 37);
  }
  return image;
}

// The chunks of a PNG with the checksums that they should have: mutation finds none, and all that
// is behind them would stay unseen.
std::vector<std::uint8_t> with_checksums(Bytes bytes) {
  std::vector<std::uint8_t> png(bytes.begin(), bytes.end());
  for (std::size_t at = 8; at + 12 <= png.size();) {
    const std::size_t length =
        std::size_t{png[at]} << 24 | png[at + 1] << 16 | png[at + 2] << 8 | png[at + 3];
    if (length > png.size() - at - 12) break;
    const auto sum = crc32(0, &png[at + 4], static_cast<uInt>(length + 4));
    for (std::size_t i = 0; i < 4; ++i) {
      png[at + 8 + length + i] = static_cast<std::uint8_t>(sum >> (24 - 8 * i));
    }
    at += 12 + length;
  }
  return png;
}

void picture(Bytes given) {
  const bool png = given.size() > 8 && std::memcmp(given.data(), "\x89PNG\r\n\x1a\n", 8) == 0;
  const std::vector<std::uint8_t> summed =
      png && given.size() % 4 != 0 ? with_checksums(given) : std::vector<std::uint8_t>();
  const Bytes bytes = summed.empty() ? given : Bytes(summed);
  const std::filesystem::path path = write("picture", bytes);
  ImageSize size;
  if (!sentence_of([&] { size = read_image_size(path); }).empty()) return;
  if (std::int64_t{size.height} * size.width > kLargest) {
    sentence_of([&] { check_image(bytes, "picture"); });
    return;
  }
  const int channels = bytes.size() % 2 == 0 ? 3 : 1;
  sentence_of([&] {
    const Image image = decode_image(bytes, "picture", channels);
    promise(image.channels == channels, "a picture has the channels asked for");
    promise(image.pixels.size() == static_cast<std::size_t>(image.height) *
                                       static_cast<std::size_t>(image.width) *
                                       static_cast<std::size_t>(channels),
            "a picture has all its pixels");
    promise((image.height == size.height && image.width == size.width) ||
                (image.height == size.width && image.width == size.height),
            "a picture has the size its header says");
    planted_fault(image.width == 4 && image.height < 3);
  });
}

Seeds picture_seeds() {
  const auto pnm = [](const std::string& header, std::size_t size) {
    std::vector<std::uint8_t> bytes = bytes_of(header);
    for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<std::uint8_t>(i * 29));
    return bytes;
  };
  std::vector<std::uint8_t> bmp = bytes_of(
      std::string("BM\x56\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\5\0\0\0\2\0\0\0\1\0\x18\0\0\0\0\0"
                  "\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                  54));
  bmp.resize(86, 90);
  return {encode_png(striped(3, 4, 3)),    encode_png(striped(5, 7, 1)),
          encode_png(striped(9, 16, 4)),   pnm("P6 4 3 255\n", 36),
          pnm("P5 4 3 255\n", 12),         pnm("P5\n# grey\n4 3\n65535\n", 24),
          pnm("P6 3 3 1023\n", 54),        bytes_of("P2 3 1 15\n0 7 15\n"),
          bytes_of("P3 1 1 255\n1 2 3\n"), bmp};
}

std::vector<std::uint8_t> gzipped(const std::vector<std::uint8_t>& bytes) {
  const std::string path = (scratch() / "seed.gz").string();
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  return content_of(path);
}

void idx(Bytes bytes) {
  const bool compressed = bytes.size() > 1 && bytes[0] == 0x1f && bytes[1] == 0x8b;
  const auto path = write(compressed ? "idx-ubyte.gz" : "idx-ubyte", bytes);
  static const auto labels = write("labels", std::string_view("\0\0\x08\1\0\0\0\2\0\1", 10));
  const std::string refused = sentence_of([&] {
    const IdxArray array = read_idx(path);
    std::uint64_t product = 1;
    for (std::int64_t extent : array.extents) product *= static_cast<std::uint64_t>(extent);
    promise(product == array.bytes.size(), "an IDX file has as many bytes as its extents say");
    planted_fault(array.extents.size() == 3 && std::any_of(array.bytes.begin(), array.bytes.end(),
                                                           [](int b) { return b != 7; }));
  });
  if (!refused.empty()) return;
  sentence_of([&] {
    const IdxDataset pictures(path, labels, {});
    for (std::int64_t i = 0; i < pictures.size(); ++i) pictures.image(i);
  });
}

Seeds idx_seeds() {
  std::vector<std::uint8_t> grey = bytes_of({"\0\0\x08\3\0\0\0\2\0\0\0\3\0\0\0\4", 16});
  std::vector<std::uint8_t> colour = bytes_of({"\0\0\x08\4\0\0\0\2\0\0\0\2\0\0\0\2\0\0\0\3", 20});
  grey.resize(16 + 24, 7);
  colour.resize(20 + 24, 9);
  const std::vector<std::uint8_t> labels = bytes_of({"\0\0\x08\1\0\0\0\3\0\1\2", 11});
  return {grey, colour, labels, gzipped(grey), gzipped(labels)};
}

void stream(Bytes bytes) {
  if (bytes.empty()) return;
  std::FILE* file = ::fmemopen(const_cast<std::uint8_t*>(bytes.data()), bytes.size(), "rb");
  sentence_of([&] {
    detection::FrameReader reader(file, "stream");
    while (std::optional<Image> frame = reader.next()) {
      promise(frame->channels == 3 && !frame->pixels.empty(), "a frame has pixels");
      planted_fault(frame->height == 1 && frame->width > 2);
    }
  });
  std::fclose(file);
}

Seeds stream_seeds() {
  const std::string ppm = "P6\n2 1\n255\n123456", luma = "FRAME\nabcdefgh12345678";
  return {bytes_of(ppm + ppm), bytes_of("P6 # one\n1 1 255 abc"),
          bytes_of("YUV4MPEG2 W4 H2 F25:1 Ip A1:1 C420jpeg\n" + luma.substr(0, 18) +
                   luma.substr(0, 18)),
          bytes_of("YUV4MPEG2 W3 H3 F30000:1001 It A10:11\nFRAME\n12345678912345678")};
}

// Written, and read back by the format's own rules.
void npy(Bytes bytes) {
  if (bytes.size() < 2) return;
  const DType dtypes[] = {DType::f32, DType::f64, DType::i64, DType::u8};
  const char* const names[] = {"<f4", "<f8", "<i8", "|u1"};
  const std::size_t sizes[] = {4, 8, 8, 1};
  const std::size_t type = bytes[0] % 4, rank = std::min<std::size_t>(bytes[1] % 5, 4);
  if (bytes.size() < 2 + rank) return;
  std::vector<std::int64_t> extents;
  std::string shape;
  std::size_t elements = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    extents.push_back(bytes[2 + i] % 7);
    elements *= static_cast<std::size_t>(extents.back());
    shape += std::to_string(extents.back()) + (rank == 1 ? "," : i + 1 < rank ? ", " : "");
  }
  Shape of;
  const std::span<const std::int64_t> e(extents);
  of = rank == 0   ? Shape{}
       : rank == 1 ? Shape{e[0]}
       : rank == 2 ? Shape{e[0], e[1]}
       : rank == 3 ? Shape{e[0], e[1], e[2]}
                   : Shape{e[0], e[1], e[2], e[3]};
  Tensor tensor({dtypes[type], of});
  const Bytes rest = bytes.subspan(2 + rank);
  const std::size_t size = elements * sizes[type];
  std::vector<std::uint8_t> content(size);
  for (std::size_t i = 0; i < size && !rest.empty(); ++i) content[i] = rest[i % rest.size()];
  if (size > 0) std::memcpy(tensor.data(), content.data(), size);
  const std::filesystem::path path = scratch() / "array.npy";
  if (!sentence_of([&] { write_npy(path, tensor); }).empty()) return;
  const std::vector<std::uint8_t> file = content_of(path);
  promise(file.size() >= 10 && std::memcmp(file.data(), "\x93NUMPY\1\0", 8) == 0, "npy: magic");
  const std::size_t header = file[8] + 256u * file[9];
  promise((10 + header) % 64 == 0 && file.size() == 10 + header + size, "npy: lengths");
  const std::string text(file.begin() + 10,
                         file.begin() + 10 + static_cast<std::ptrdiff_t>(header));
  promise(text.starts_with(std::string("{'descr': '") + names[type] +
                           "', 'fortran_order': False, 'shape': (" + shape + ")"),
          "npy: header");
  promise(std::equal(content.begin(), content.end(),
                     file.begin() + 10 + static_cast<std::ptrdiff_t>(header)),
          "npy: content");
  if (type == 3 && rank == 3 && elements > 0 && (extents[2] == 1 || extents[2] == 3)) {
    Image image(static_cast<int>(extents[0]), static_cast<int>(extents[1]),
                static_cast<int>(extents[2]));
    std::copy(content.begin(), content.end(), image.pixels.begin());
    const Image again = decode_image(encode_png(image), "png", image.channels);
    promise(again.height == image.height && again.pixels == image.pixels, "PNG comes back");
  }
  planted_fault(type == 2 && rank == 4 && elements > 0);
}

Seeds npy_seeds() {
  return {bytes_of({"\0\0\1\2\3\4", 6}), bytes_of({"\0\1\3\1\2\3\4\5", 8}),
          bytes_of({"\3\3\2\2\3\7\6", 7}), bytes_of({"\1\2\1\1\x7f\xf0", 6})};
}

}  // namespace

const Target kPicture{"picture", picture, picture_seeds}, kIdx{"idx", idx, idx_seeds},
    kStream{"stream", stream, stream_seeds}, kNpy{"npy", npy, npy_seeds};

}  // namespace tapescope::fuzz
