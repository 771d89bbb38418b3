-- Reviews and mean rating of each category and sentiment
SELECT
  product_category,
  sentiment,
  count(*) AS reviews,
  round(avg(rating), 3) AS mean_rating
FROM reviews
GROUP BY product_category, sentiment
ORDER BY product_category, sentiment
