// JPEG by libjpeg-turbo: the decoder of Pillow and OpenCV, so that pixels are theirs.
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs FILE

#include <fmt/format.h>
#include <jerror.h>
#include <jpeglib.h>

#include "tools/data/decoders.h"

namespace tapescope {
namespace {

// The library reports errors through these instead of printing them.
struct Errors : jpeg_error_mgr {
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void stop(j_common_ptr info) {
  auto* errors = static_cast<Errors*>(info->err);
  errors->format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}

// A warning is how the library says that it filled up what is missing: an error here, but for what
// cameras and editors write around sound pictures.
void warn(j_common_ptr info, int level) {
  if (level >= 0) return;  // a trace
  switch (info->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
      return;
    default:
      stop(info);
  }
}

void say_nothing(j_common_ptr) {}

// Owns what a jump leaves behind: between setjmp and the library's call nothing may have a
// destructor.
class Decoder {
 public:
  Decoder() {
    info_.err = jpeg_std_error(&errors_);
    errors_.error_exit = stop;
    errors_.emit_message = warn;
    errors_.output_message = say_nothing;
    jpeg_create_decompress(&info_);
  }
  ~Decoder() { jpeg_destroy_decompress(&info_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  Image run(std::span<const std::uint8_t> bytes) {
    if (setjmp(errors_.jump) != 0) {
      throw BrokenImage{fmt::format("cannot be decoded ({})", errors_.message)};
    }
    jpeg_mem_src(&info_, bytes.data(), bytes.size());
    jpeg_read_header(&info_, TRUE);
    if (info_.num_components == 4) {
      info_.out_color_space = JCS_CMYK;
    } else {
      info_.out_color_space = info_.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    }
    jpeg_start_decompress(&info_);
    image_ = Image(static_cast<int>(info_.output_height), static_cast<int>(info_.output_width),
                   info_.num_components == 1 ? 1 : 3);
    if (info_.num_components == 4) row_.resize(std::size_t{info_.output_width} * 4);
    while (info_.output_scanline < info_.output_height) read_row();
    jpeg_finish_decompress(&info_);
    return std::move(image_);
  }

 private:
  void read_row() {
    std::uint8_t* to = image_.at(static_cast<int>(info_.output_scanline), 0);
    JSAMPROW row = row_.empty() ? to : row_.data();
    jpeg_read_scanlines(&info_, &row, 1);
    if (row_.empty()) return;
    // Ink is stored inverted, as Adobe's programs do it with and without their marker.
    for (std::uint8_t& v : row_) v = static_cast<std::uint8_t>(255 - v);
    for (std::size_t x = 0; x < row_.size() / 4; ++x) cmyk_to_rgb(&row_[x * 4], to + x * 3);
  }
  jpeg_decompress_struct info_ = {};
  Errors errors_ = {};
  Image image_;
  std::vector<std::uint8_t> row_;  // c, m, y, k
};

}  // namespace

Image decode_jpeg(std::span<const std::uint8_t> bytes) { return Decoder().run(bytes); }

#define TAPESCOPE_TEXT_OF(x) #x
#define TAPESCOPE_TEXT(x) TAPESCOPE_TEXT_OF(x)
std::string jpeg_version() { return "libjpeg-turbo " TAPESCOPE_TEXT(LIBJPEG_TURBO_VERSION); }

}  // namespace tapescope
