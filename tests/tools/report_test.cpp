#include <cmath>
#include <cstring>

#include "tests/tools/temporary_folder.h"
#include "tools/report/colormap.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/npy.h"
#include "tools/report/text.h"

namespace tapescope {
namespace {

// Relative luminance of an sRGB colour, then CIE lightness 0..100: not how the tables were made.
double lightness(Color color) {
  const double weights[3] = {0.2126, 0.7152, 0.0722};
  double y = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    const double v = color[c] / 255.0;
    y += weights[c] * (v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4));
  }
  return y > 0.008856 ? 116 * std::cbrt(y) - 16 : 903.3 * y;
}

Color pixel(const Image& image, int y, int x) {
  return {image.at(y, x)[0], image.at(y, x)[1], image.at(y, x)[2]};
}

TEST(Colormap, SequentialLightnessRisesEvenly) {
  const double first = lightness(sequential_color(0));
  const double last = lightness(sequential_color(1));
  EXPECT_LT(first, 20);
  EXPECT_GT(last, 85);
  double before = first;
  for (int i = 1; i <= 20; ++i) {
    const double now = lightness(sequential_color(i / 20.0));
    EXPECT_NEAR(now - before, (last - first) / 20, 1.6) << i;
    before = now;
  }
}

TEST(Colormap, DivergingIsNeutralAtZeroAndAlikeOnBothSides) {
  const Color zero = diverging_color(0);
  EXPECT_GT(lightness(zero), 94);
  EXPECT_LE(std::max({zero[0], zero[1], zero[2]}) - std::min({zero[0], zero[1], zero[2]}), 2);
  for (int i = 1; i <= 10; ++i) {
    const Color low = diverging_color(-i / 10.0);
    const Color high = diverging_color(i / 10.0);
    EXPECT_NEAR(lightness(low), lightness(high), 7) << i;
    EXPECT_GT(low[2], low[0]) << "blue below";
    EXPECT_GT(high[0], high[2]) << "red above";
  }
  EXPECT_EQ(diverging_color(-7), diverging_color(-1));
  EXPECT_EQ(diverging_color(7), diverging_color(1));
}

TEST(Colormap, RangesAndSpecialValues) {
  const float nan = std::nanf("");
  const float infinity = INFINITY;
  const Map map(1, 5, std::vector<float>{-1, 3, nan, infinity, 0});
  EXPECT_EQ(range_of(map, Colors::diverging).low, -3);
  EXPECT_EQ(range_of(map, Colors::diverging).high, 3);
  EXPECT_EQ(range_of(map, Colors::sequential).low, -1);
  const Image image = colorize(map, Colors::diverging);
  EXPECT_EQ(pixel(image, 0, 1), diverging_color(1));
  EXPECT_EQ(pixel(image, 0, 2), (Color{255, 0, 255}));
  EXPECT_EQ(pixel(image, 0, 3), diverging_color(1));
  EXPECT_EQ(pixel(image, 0, 4), diverging_color(0));
  const Map flat(2, 2, std::vector<float>(4, 0.0f));
  EXPECT_EQ(pixel(colorize(flat, Colors::diverging), 1, 1), diverging_color(0));
  EXPECT_EQ(pixel(colorize(map, Colors::sequential, Range{0, 6}), 0, 1), sequential_color(0.5));
  EXPECT_NE(usage_message([&] { Map(2, 3, std::vector<float>(5)); }), "");
}

TEST(Colormap, UpsamplingInterpolatesBetweenPixelCentres) {
  const Map map(1, 2, std::vector<float>{0, 8});
  // Output centres at -0.25, 0.25, 0.75, 1.25 of the input; edges repeat.
  EXPECT_EQ(upsample(map, 2, 4).values, (std::vector<float>{0, 2, 6, 8, 0, 2, 6, 8}));
  const Map plane(3, 3, std::vector<float>{0, 1, 2, 10, 11, 12, 20, 21, 22});
  EXPECT_EQ(upsample(plane, 3, 3).values, plane.values);
  const Map fine = upsample(plane, 9, 9);
  for (int y = 1; y < 8; ++y) {
    for (int x = 1; x < 8; ++x) {
      EXPECT_NEAR(fine.values[static_cast<std::size_t>(y * 9 + x)],
                  10 * ((y + 0.5) / 3 - 0.5) + (x + 0.5) / 3 - 0.5, 1e-4);
    }
  }
  EXPECT_EQ(upsample(Map(1, 1, std::vector<float>{5}), 2, 2).values, std::vector<float>(4, 5.0f));
}

TEST(Overlay, Blends) {
  const Image picture(2, 2, 3, 100);
  const Image colors(2, 2, 3, 200);
  EXPECT_EQ(overlay(picture, colors, 0.25).pixels, std::vector<std::uint8_t>(12, 125));
  EXPECT_EQ(overlay(Image(2, 2, 1, 100), colors, 0.0).pixels, std::vector<std::uint8_t>(12, 100));
  EXPECT_NE(usage_message([&] { overlay(picture, Image(3, 2, 3), 0.5); }), "");
  EXPECT_NE(usage_message([&] { overlay(picture, colors, 1.5); }), "");
}

TEST(Overlay, ShowsThePictureWhereTheMapIsZero) {
  Image picture(8, 8, 3);
  for (std::size_t i = 0; i < picture.pixels.size(); ++i) {
    picture.pixels[i] = static_cast<std::uint8_t>(i);
  }
  const Image zero = overlay(picture, Map(2, 2, std::vector<float>(4, 0)), Colors::diverging);
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 8; ++x) {
      EXPECT_EQ(zero.at(y, x)[0], zero.at(y, x)[1]);
      EXPECT_EQ(zero.at(y, x)[1], zero.at(y, x)[2]);
    }
  }
  EXPECT_NE(pixel(zero, 0, 0), pixel(zero, 7, 7));
  const Image half = overlay(picture, Map(1, 2, std::vector<float>{-1, 1}), Colors::diverging);
  EXPECT_GT(half.at(4, 0)[2], half.at(4, 0)[0]);
  EXPECT_GT(half.at(4, 7)[0], half.at(4, 7)[2]);
}

TEST(ColorBar, KeepsThePictureAndShowsBothEnds) {
  for (int size : {1, 28, 320}) {
    const Image picture(size, size, size == 28 ? 1 : 3, 7);
    const Image out = with_color_bar(picture, Colors::diverging, {-2, 2});
    EXPECT_GE(out.height, size);
    EXPECT_GT(out.width, size);
    for (int i = 0; i < size; ++i) EXPECT_EQ(pixel(out, i, size - 1), (Color{7, 7, 7}));
    int first = 0;
    int last = 0;
    for (std::size_t i = 0; i < out.pixels.size(); i += 3) {
      const Color color = {out.pixels[i], out.pixels[i + 1], out.pixels[i + 2]};
      first += color == diverging_color(-1);
      last += color == diverging_color(1);
    }
    EXPECT_GT(first, 0);
    EXPECT_GT(last, 0);
  }
}

TEST(Text, DrawsInsideThePictureOnly) {
  Image image(20, 40, 3, 255);
  draw_text(image, 2, 3, "I", {1, 2, 3});
  EXPECT_EQ(pixel(image, 5, 5), (Color{1, 2, 3})) << "the stem";
  EXPECT_EQ(pixel(image, 5, 3), (Color{255, 255, 255}));
  draw_text(image, -5, -7, "Wide text leaves the picture on all sides", {0, 0, 0}, 3);
  EXPECT_EQ(text_width("abc"), 17);
  EXPECT_EQ(text_width("abc", 2), 34);
  EXPECT_EQ(text_width(""), 0);
  EXPECT_EQ(text_width("\xc3\xa4\xe2\x82\xac"), 11) << "two characters";
  EXPECT_EQ(fit_text("abcdefgh", 29), "abc..");
  EXPECT_EQ(fit_text("abc", 17), "abc");
  EXPECT_EQ(fit_text("\xc3\xa4\xc3\xa4\xc3\xa4", 17), "\xc3\xa4\xc3\xa4\xc3\xa4");
  EXPECT_EQ(fit_text("\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", 17), "\xc3\xa4..");
  EXPECT_EQ(fit_text("abc", 3), "");
  EXPECT_EQ(short_number(0.25), "0.25");
  EXPECT_EQ(short_number(-0.0), "0");
}

TEST(ContactSheet, PlacesEveryPicture) {
  std::vector<SheetCell> cells;
  for (int i = 0; i < 7; ++i) {
    const Image image(10 + i, 20, i % 2 == 0 ? 3 : 1, static_cast<std::uint8_t>(10 * i + 5));
    cells.push_back({image, fmt::format("picture number {}", i)});
  }
  cells.push_back({Image(), "nothing"});
  const Image sheet = contact_sheet(cells, {.columns = 3, .cell_size = 40, .title = "A title"});
  for (int i = 0; i < 7; ++i) {
    const auto v = static_cast<std::uint8_t>(10 * i + 5);
    int found = 0;
    for (std::size_t k = 0; k < sheet.pixels.size(); k += 3) {
      found += sheet.pixels[k] == v && sheet.pixels[k + 1] == v && sheet.pixels[k + 2] == v;
    }
    EXPECT_GE(found, 4 * 20 * (10 + i)) << i;  // enlarged twofold
  }
  EXPECT_LT(contact_sheet({{Image(500, 1000, 3), ""}}, {.cell_size = 100}).width, 120);
  EXPECT_NE(usage_message([&] { contact_sheet({}); }), "");
}

TEST(Npy, WritesWhatTheFormatAsksFor) {
  const TemporaryFolder folder;
  write_npy(folder / "a.npy", Tensor::from<float>({2, 3}, {0, 1, 2, 3, 4, 5.5}));
  const auto bytes = get(folder / "a.npy");
  ASSERT_EQ(bytes.size(), 64u + 24u + 64u * (bytes.size() > 88 ? 1 : 0));
  const std::string text(bytes.begin(), bytes.end());
  EXPECT_EQ(text.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const std::size_t header = bytes[8] + 256u * bytes[9];
  EXPECT_EQ((10 + header) % 64, 0u);
  EXPECT_EQ(bytes[9 + header], '\n');
  EXPECT_NE(text.find("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"),
            std::string::npos);
  float last = 0;
  std::memcpy(&last, bytes.data() + bytes.size() - 4, 4);
  EXPECT_EQ(last, 5.5f);
  write_npy(folder / "b.npy", Tensor::from<std::int64_t>({2}, {7, -1}));
  const auto one = get(folder / "b.npy");
  EXPECT_NE(
      std::string(one.begin(), one.end()).find("'<i8', 'fortran_order': False, 'shape': (2,), "),
      std::string::npos);
  write_npy(folder / "c.npy", Tensor::scalar(1));
  const auto scalar = get(folder / "c.npy");
  EXPECT_NE(std::string(scalar.begin(), scalar.end()).find("'shape': (), "), std::string::npos);
  EXPECT_NE(usage_message([&] {
              write_npy(folder / "d", Tensor::full({DType::bf16, {1}}, 1));
            }),
            "");
  EXPECT_THROW(write_npy(folder / "no/such.npy", Tensor::scalar(1)), Error);
}

}  // namespace
}  // namespace tapescope
