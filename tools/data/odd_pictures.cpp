#include "tools/data/odd_pictures.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/data/decoders.h"
#include "tools/data/exif.h"
#include "tools/data/image_format.h"
#include "tools/data/pnm.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

constexpr int kMostOf12Bits = 4095 >> 8;

}  // namespace

std::string CountedPictures::sentence() const {
  return fmt::format("{} pictures {} (the first: {})", count_, what_, printable(first_));
}

OddPictures::OddPictures(Exif exif_)
    : exif(exif_),
      turned_(fmt::format("have an EXIF orientation, which is {}",
                          exif == Exif::apply ? "applied" : "not applied")),
      dark_(
          "have 16 bits a sample and no value above 4095, and are read as nearly black, as 0 to "
          "65535 has it; multiply data of 12 bits by 16, of 10 bits by 64, or save them as 8 "
          "bits") {}

bool OddPictures::has_16_bits(std::span<const std::uint8_t> bytes) {
  constexpr int kBitsPerSample = 258;
  switch (sniff_image(bytes).format) {
    case ImageFormat::png:
      return bytes.size() > 24 && bytes[24] == 16;
    case ImageFormat::tiff:
      return tiff_tag(bytes, kBitsPerSample) == 16;
    case ImageFormat::pnm:
      try {
        return read_pnm_header(bytes).largest == 0xffff;
      } catch (const BrokenImage&) {
        return false;
      }
    default:
      return false;
  }
}

void OddPictures::look_at(std::span<const std::uint8_t> bytes, const Image& image,
                          const std::string& name) {
  look_at_head(bytes, name);
  if (!has_16_bits(bytes)) return;
  if (std::any_of(image.pixels.begin(), image.pixels.end(),
                  [](std::uint8_t v) { return v > kMostOf12Bits; })) {
    return;
  }
  const std::lock_guard lock(mutex_);
  dark_.add(name);
}

void OddPictures::look_at_head(std::span<const std::uint8_t> bytes, const std::string& name) {
  count(image_orientation(bytes) != 1, name);
}

void OddPictures::count(bool turned, const std::string& name) {
  if (!turned) return;
  const std::lock_guard lock(mutex_);
  turned_.add(name);
}

std::vector<std::string> OddPictures::sentences() const {
  std::vector<std::string> all;
  for (const CountedPictures* kind : {&turned_, &dark_}) {
    if (kind->count() > 0) all.push_back(kind->sentence());
  }
  return all;
}

}  // namespace tapescope
