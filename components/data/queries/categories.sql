-- Reviews, mean rating and mean sentiment of each category
SELECT
  product_category,
  count(*) AS reviews,
  round(avg(rating), 3) AS mean_rating,
  round(avg(sentiment), 3) AS mean_sentiment
FROM reviews
GROUP BY product_category
ORDER BY reviews DESC, product_category
