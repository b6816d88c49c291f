for i in {1..40}; do
    echo "row $i"
    sleep 0.25
done
exit 60
