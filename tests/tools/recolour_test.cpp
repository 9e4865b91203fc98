// Grey is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded, wherever a picture comes from.
#include "tools/data/recolour.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/philox.h"

namespace tapescope {
namespace {

TEST(Recolour, GreyIsTheRoundedLumaFromFilesAndFromMemory) {
  Image colours(64, 64, 3);
  PhiloxStream random(3);
  for (std::uint8_t& v : colours.pixels) v = static_cast<std::uint8_t>(random.below(256));
  const std::uint8_t pure[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0};
  std::copy(std::begin(pure), std::end(pure), colours.pixels.begin());
  const Image grey = recoloured(view_of(colours), 1);
  ASSERT_EQ(grey.channels, 1);
  for (std::size_t i = 0; i < grey.pixels.size(); ++i) {
    const std::uint8_t* p = &colours.pixels[3 * i];
    const double luma = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
    ASSERT_LE(std::fabs(grey.pixels[i] - luma), 0.501) << i;
  }
  std::vector<std::uint8_t> file;
  for (char c : std::string("P6\n64 64\n255\n")) file.push_back(static_cast<std::uint8_t>(c));
  file.insert(file.end(), colours.pixels.begin(), colours.pixels.end());
  EXPECT_EQ(decode_image(file, "a.ppm", 1).pixels, grey.pixels);
  const Image back = recoloured(view_of(grey), 3);
  for (std::size_t i = 0; i < back.pixels.size(); ++i) {
    ASSERT_EQ(back.pixels[i], grey.pixels[i / 3]);
  }
}

}  // namespace
}  // namespace tapescope
