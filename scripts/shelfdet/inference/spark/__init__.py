"""Detection on a cluster of Apache Spark (step 12): what step 08 does, for millions of images.

The driver, which is the process of the step, lists the images and writes tables; ``task`` alone
runs on the workers. Without pyspark, importing these modules fails: call ``java.check`` first.
"""

# Where a Spark cluster unpacks the archive of step 12's --archive, in the folder of each executor
ENVIRONMENT = "environment"
